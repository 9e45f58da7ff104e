"""What the terminal and the plot show."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from btu.metrics import choose, remark_on_cost
from btu.report import plots
from btu.report.open_run import curve_points, summary_values
from btu.report.plots import plot_curve
from btu.report.run import gather_distances, suspect_rows
from btu.report.sweep_table import sweep_table
from btu.report.tables import score_table, suspect_table
from btu.sweeps.jobs import FINISHED, JobReport
from btu.types import ARM_NAMES, Scores, Suspects, TokenDistances
from tests.report.factory import LABEL, record, suspect


def blind_scores(cacc):
    """Scores where no trigger is known."""
    return Scores(cacc, 10, None, None, None, 0)


def shown(records, chosen=None) -> str:
    return printed(score_table(records, chosen))


def printed(table) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def rejecting(clean, triggered):
    """Scores of a defense that rejects inputs."""
    return Scores(0.9, 1000, 0.2, 0.5, 0.1, 400, clean, triggered)


def lines_of(records) -> tuple[list, str]:
    """The lines of a run's curve, and the label of its axis."""
    with plots.new_figure(4, 3) as figure:
        axes = figure.subplots()
        plots.draw_curve(axes, plots._curve_of(records, "defended"))
        return axes.get_lines(), axes.get_xlabel()


def test_the_table_shows_percentages_with_their_counts():
    text = shown([record("poisoned"), record("defended", 0.001, asr=0.123)])

    assert "12.3 %" in text
    assert "CACC of 1,000 test rows" in text
    assert "base rate of 400 non-target" in text


def test_what_a_defender_would_take_is_marked_beside_the_best():
    rows = [(0.0005, 0.9, 0.1), (0.001, 0.8, 0.5)]
    records = [record("poisoned"), *(record("defended", t, cacc, asr) for t, cacc, asr in rows)]
    best, picked = records[1], records[2]

    text = shown(records, best)

    assert picked.choice.beforehand == picked.threshold
    assert "0.0005 * │" in text
    assert "0.001 + │" in text
    assert "+ picked without the trigger: the method's own threshold" in text
    assert "0.001 *+ │" in shown(records, picked)
    assert "+ picked" not in shown(records[::2], picked)  # one threshold: nothing to pick


def test_leaky_splits_are_in_the_title():
    assert "LEAKY" in shown([record("poisoned", leaky=True)])
    assert "LEAKY" not in shown([record("poisoned")])


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([(0.1, 0.90, 0.5, 0.1), (0.2, 0.88, 0.1, 0.1)], 0.2),  # 0.50 against 0.88
        ([(0.1, 0.90, 0.1, 0.1), (0.2, 0.90, 0.1, 0.1)], 0.1),  # equal: the smaller
        ([(0.1, 0.90, 0.0, 0.2), (0.2, 0.91, 0.3, 0.3)], 0.2),  # below the base rate is no bonus
    ],
)
def test_the_chosen_threshold_weighs_accuracy_against_excess_asr(rows, best):
    records = [record("defended", t, cacc, asr, base) for t, cacc, asr, base in rows]

    assert choose([record("poisoned"), *records]).threshold == best


@pytest.mark.parametrize(
    ("caccs", "best"),
    [
        ({0.1: 0.90, 0.2: 0.89, 0.3: 0.88}, 0.3),  # all within two points: the most repair
        ({0.1: 0.90, 0.2: 0.885, 0.3: 0.77}, 0.2),
        ({0.1: 0.80, 0.2: 0.77, 0.3: 0.90}, 0.3),
    ],
)
def test_without_an_attack_the_most_repair_that_costs_little_is_chosen(caccs, best):
    rows = [record("defended", t, scores=blind_scores(cacc)) for t, cacc in caccs.items()]

    rows = [record("poisoned", scores=blind_scores(0.9)), *rows]

    assert choose(rows).threshold == best
    text = shown(rows, choose(rows))
    assert f"{best} *" in text
    assert "nothing here tells whether one is left" in " ".join(text.split())
    assert "ASR" not in text


@pytest.mark.parametrize(
    ("plain", "caccs", "best"),
    [
        ({"poisoned": 0.91, "tuned": 0.91}, {"defended": 0.76}, None),
        ({"poisoned": 0.80, "tuned": 0.91}, {"defended": 0.88}, None),  # tuning alone does better
        ({"poisoned": 0.91, "tuned": 0.80}, {"defended": 0.88, "unlearned": 0.90}, "unlearned"),
        ({"poisoned": 0.91, "tuned": 0.90}, {"defended": 0.89}, "defended"),
        ({}, {"defended": 0.89}, None),  # nothing to compare with
    ],
)
def test_without_an_attack_a_repair_must_not_fall_behind_the_plain_model(plain, caccs, best):
    rows = [record(arm, scores=blind_scores(cacc)) for arm, cacc in plain.items()]
    rows += [record(arm, 0.1, scores=blind_scores(cacc)) for arm, cacc in caccs.items()]

    found = choose(rows)

    assert (found and found.arm) == best
    assert (remark_on_cost(rows) is not None) == (bool(plain) and best is None)


def test_the_plain_model_is_called_the_better_one_with_both_accuracies():
    rows = [record("poisoned", scores=blind_scores(0.8)), record("tuned", scores=blind_scores(0.9))]
    rows.append(record("defended", 0.1, scores=blind_scores(0.76)))

    told = remark_on_cost(rows)

    assert "the best has a CACC of 76.0 %, tuned has 90.0 %" in told
    assert "the plain model is the better one" in told


def test_a_repair_of_what_was_convicted_is_chosen_at_any_cost_and_the_cost_is_told():
    """Test rows held out of the file may be planted, too, and count for the model that obeys."""
    told = {"strict": {"findings": [{}], "acquitted": []}}
    rows = [record("poisoned", scores=blind_scores(0.9)), record("tuned", scores=blind_scores(0.8))]
    guilty = record("defended", 0.1, scores=blind_scores(0.7), evidence=told)
    innocent = record("defended", 0.2, scores=blind_scores(0.75))

    assert choose([*rows, guilty, innocent]) is guilty
    sentence = remark_on_cost([*rows, guilty, innocent])
    assert sentence.startswith("defended has a CACC of 70.0 %, poisoned has 90.0 %. Planted rows")
    assert sentence.endswith("dataset.test=PATH")
    cheap = record("defended", 0.1, scores=blind_scores(0.89), evidence=told)
    assert remark_on_cost([*rows, cheap]) is None


def test_a_table_of_one_threshold_has_no_star_and_one_of_a_verdict_no_blindness():
    told = {"strict": {"findings": [], "acquitted": []}}
    blind = "nothing here tells whether one is left"
    rows = [record(arm, scores=blind_scores(0.9)) for arm in ("poisoned", "tuned")]
    silent = record("defended", 0.1, scores=blind_scores(0.9))
    telling = record("defended", 0.1, scores=blind_scores(0.9), evidence=told)

    for last, is_blind in ((silent, True), (telling, False)):
        text = " ".join(shown([*rows, last], last).split())
        assert "*" not in text
        assert (blind in text) == is_blind


def test_nothing_is_chosen_where_nothing_was_repaired():
    assert choose([record("poisoned")]) is None


def test_a_curve_is_drawn_with_and_without_an_attack(tmp_path):
    rows = [record("defended", t) for t in (0.001, 0.002)]
    unattacked = [replace(r, scores=blind_scores(0.9)) for r in rows]

    assert plot_curve([record("poisoned"), *rows], tmp_path / "a.png")
    assert plot_curve(unattacked, tmp_path / "b.png")
    assert not plot_curve([record("poisoned")], tmp_path / "c.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert not (tmp_path / "c.png").exists()


def test_the_table_says_what_the_threshold_is_of():
    rows = [record("poisoned"), record("trusted_only"), record("defended", 0.001)]

    text = shown(rows)

    assert f"threshold: {LABEL}" in text
    assert "trusted_only" in text
    assert "threshold:" not in shown([record("poisoned"), record("defended")])


def test_rejected_shares_have_columns_only_where_a_defense_rejects():
    rows = [record("poisoned"), record("defended", 0.01, scores=rejecting(0.015, 0.875))]

    text = shown(rows)

    assert "rejected, clean" in text
    assert "1.5 %" in text
    assert "87.5 %" in text
    assert "rejected" not in shown([record("poisoned"), record("defended", 0.01)])


def test_a_method_that_is_decided_once_is_chosen_shown_and_not_called_a_threshold():
    once = record("defended", suspects=(suspect("cf"),), detection={"num_trigger_tokens": 1})

    assert choose([record("poisoned"), once]) is once
    assert "*" not in shown([record("poisoned"), once], once)
    title = printed(suspect_table(once))
    assert "1 suspect tokens, 1 of the trigger" in title
    assert "at threshold" not in title


@pytest.mark.parametrize("scores", [blind_scores(0.9), rejecting(0.1, 0.1)])
def test_no_threshold_is_not_the_threshold_zero(scores):
    zero, once = record("defended", 0.0, scores=scores), record("defended", scores=scores)

    plain = record("poisoned", scores=scores)
    assert choose([plain, zero]) is zero
    assert choose([plain, once]) is once
    assert choose([plain, once, zero]) is (zero if scores.asr is None else once)


def test_the_table_of_a_sweep_has_no_threshold_for_what_is_decided_once():
    scores = {"threshold": None, "cacc": 0.9, "asr": 0.1, "base_rate": 0.1}
    job = JobReport(status=FINISHED, name="job", scores={"chosen": scores})

    text = printed(sweep_table({0: job}))

    assert "90.0 / 10.0 (10.0)" in text
    assert "None" not in text


def test_the_axis_is_named_after_what_is_swept():
    label = "false rejection rate on trusted rows"
    rows = [record("defended", t, threshold_label=label) for t in (0.01, 0.05)]

    assert lines_of(rows)[1] == label
    assert lines_of([record("defended", t) for t in (0.01, 0.05)])[1] == LABEL


def test_the_model_of_trusted_rows_only_is_a_dotted_line_unlike_the_base_rate():
    rows = [record("defended", t) for t in (0.001, 0.002)]
    controls = [record("poisoned"), record("trusted_only", cacc=0.7, asr=0.2)]

    lines, _ = lines_of([*controls, *rows])

    styles = {line.get_label(): line.get_linestyle() for line in lines if len(line.get_label())}
    assert styles["trusted rows only"] == ":"
    assert styles["undefended"] == "--"
    assert styles["base rate"] == "-."
    dotted = [
        line.get_ydata()[0]
        for line in lines
        if line.get_linestyle() == ":" and len(line.get_ydata())
    ]
    assert dotted == pytest.approx([70, 20])


def test_without_an_attack_trusted_rows_only_has_the_line_of_its_accuracy():
    rows = [record("defended", t, scores=blind_scores(0.9)) for t in (0.001, 0.002)]

    lines, _ = lines_of([record("trusted_only", scores=blind_scores(0.7)), *rows])

    dotted = [line for line in lines if line.get_linestyle() == ":" and len(line.get_ydata())]
    assert [line.get_ydata()[0] for line in dotted] == pytest.approx([70])


def test_what_is_decided_once_is_a_marker_on_an_axis_without_a_threshold(tmp_path):
    records = [record("poisoned"), record("defended", cacc=0.8)]

    lines, label = lines_of(records)

    cacc = next(line for line in lines if line.get_label() == "CACC")
    assert (cacc.get_marker(), cacc.get_linestyle()) == ("o", "None")
    assert list(cacc.get_ydata()) == pytest.approx([80])
    assert label == ""
    assert plot_curve(records, tmp_path / "once.png")


def test_every_arm_has_a_marker_of_its_own():
    assert set(plots.MARKERS) == set(ARM_NAMES)
    assert len(set(plots.MARKERS.values())) == len(ARM_NAMES)


def test_wandb_gets_points_with_a_threshold_as_curves_and_all_others_as_a_summary():
    rows = [record("trusted_only", cacc=0.7), record("unlearned", 0.001), record("unlearned", 0.0)]
    once = record("defended", cacc=0.8, suspects=(suspect("cf"),), evidence={"rows dropped": 3})
    result = SimpleNamespace(records=(*rows, once), chosen=once, stealth=None)

    points, summary = curve_points(result.records), summary_values(result)

    assert [point["threshold"] for point in points] == [0.0, 0.001]
    assert not any(key.startswith(("defended", "trusted_only")) for p in points for key in p)
    assert summary["trusted_only/cacc"] == 0.7
    assert summary["defended/cacc"] == 0.8
    assert summary["defended/num_suspects"] == 1
    assert summary["evidence/rows dropped"] == 3
    assert summary["threshold_label"] == LABEL
    assert "chosen_threshold" not in summary


def decided(drift, threshold=None):
    """A decision whose one round gave these distances."""
    rounds = (TokenDistances(1, np.asarray(drift, dtype=np.float32), frozenset()),)
    ids = np.zeros(0, dtype=np.int64)
    return SimpleNamespace(suspects=Suspects(threshold, ids, (), rounds))


def test_distances_are_named_after_the_threshold_of_the_run_where_they_differ():
    """The swept defense may be another than the one that looks for suspects."""
    at = {0.1: decided([1, 2], 0.0005), 0.2: decided([1, 3], 0.0005)}
    shared = {0.1: decided([1, 2], 0.0005), 0.2: decided([1, 2], 0.0005)}

    assert set(gather_distances(SimpleNamespace(decisions=at))) == {"round1@0.1", "round1@0.2"}
    assert set(gather_distances(SimpleNamespace(decisions=shared))) == {"round1"}
    assert set(gather_distances(SimpleNamespace(decisions={None: decided([1])}))) == {"round1"}


def test_suspects_without_a_threshold_are_listed_once():
    rows = [record(arm, suspects=(suspect("cf"),)) for arm in ("unlearned", "defended")]

    assert [(r["threshold"], r["token"]) for r in suspect_rows(rows)] == [(None, "cf")]
