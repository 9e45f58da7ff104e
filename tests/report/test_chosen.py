"""What a defender could have chosen, in rows, and what was published beside it."""

import csv
from dataclasses import replace

import pytest

from btu.report.chosen import chosen_grid, chosen_rows
from btu.report.groups import group_records
from btu.report.published import FIGURES, NOT_AVAILABLE, list_sources
from btu.report.study import read_study
from btu.report.write import write_report
from btu.store.records import Work
from btu.types import Scores
from tests.report.factory import chosen, judged, record, set_beforehand, small_study, write


def rows_of(folder, *records):
    named = [replace(r, key=f"k{number}") for number, r in enumerate(records)]
    return chosen_rows(group_records(read_study([write(folder, *named)])))


def by_title(rows):
    """The cells of a table of rows by the title of their column."""
    grid = chosen_grid(rows)
    return [
        dict(zip(grid.titles, (c.text for c in line.cells), strict=True)) for line in grid.lines
    ]


def swept(seed, accuracies, **changes):
    """One seed at the thresholds 0.1, 0.2, 0.4; the scores say which threshold it was."""
    return [
        judged(
            t, accuracy, seed=seed, cacc=1 - t / 2, asr=0.5 - t, work=Work(100 * seed, 9), **changes
        )
        for t, accuracy in zip((0.1, 0.2, 0.4), accuracies, strict=True)
    ]


def test_each_seed_picks_its_own_threshold_and_the_row_is_their_mean(tmp_path):
    controls = [record("poisoned", seed=seed, work=Work(60, 6)) for seed in (1, 2)]
    rows = rows_of(tmp_path, *controls, *swept(1, (0.9, 0.89, 0.5)), *swept(2, (0.9, 0.89, 0.895)))

    floor, row = by_title(rows)

    assert (row["threshold"], row["chosen by"], row["seeds"]) == ("0.2, 0.4", "trusted rows", "2")
    assert row["CACC"] == "85.0 ± 7.1"  # of 90 and 80
    assert row["ASR"] == "20.0 ± 14.1"
    assert row["excess"] == "10.0 ± 14.1"  # of 30 - 10 and 10 - 10
    assert (row["threshold, best"], row["CACC, best"]) == ("0.4", "80.0 ± 0.0")
    assert row["excess, best"] == "0.0 ± 0.0"
    assert (row["seconds"], row["passes"]) == ("150", "9.0")
    assert (floor["arm"], floor["threshold"], floor["chosen by"]) == ("poisoned", "", "")
    assert (floor["CACC"], floor["excess"], floor["CACC, best"]) == ("90.0 ± 0.0", "90.0 ± 0.0", "")


def test_rows_found_or_else_inputs_rejected_are_scored_beside(tmp_path):
    rows = {"row_precision": 0.5, "row_recall": 1.0, "row_auroc": 0.9, "input_auroc": 0.1}
    inputs = {"input_precision": None, "input_recall": 0.0, "input_auroc": 0.6}
    of_rows, of_inputs, without = by_title(
        rows_of(
            tmp_path,
            record("defended", 0.001, detection=rows, choices=chosen(defense="b")),
            record("defended", 0.001, detection=inputs, choices=chosen(defense="c")),
            record("defended", 0.001, choices=chosen(defense="d")),
        )
    )

    names = [f"{name}, rows or inputs" for name in ("precision", "recall", "AUROC")]
    found = [[row[name] for name in names] for row in (of_rows, of_inputs, without)]
    assert found == [["50.0", "100.0", "90.0"], ["", "0.0", "60.0"], ["", "", ""]]
    assert names[0] not in by_title(rows_of(tmp_path / "none", record("defended", 0.001)))[0]


def test_what_was_not_tuned_is_shown_as_it_is_and_a_tuned_one_alone(tmp_path):
    other = {"choices": chosen(defense="other")}
    rows = rows_of(
        tmp_path,
        record("unlearned", 0.1),
        record("defended", 0.1),
        record("unlearned", 0.1, **other),
    )

    assert [(r.picked.defense, r.picked.arm.name) for r in rows] == [
        ("btu", "defended"),
        ("other", "unlearned"),
    ]


def test_a_row_says_that_its_threshold_was_not_tried(tmp_path):
    (row,) = by_title(rows_of(tmp_path, set_beforehand(0.01), set_beforehand(0.02)))

    assert row["threshold"] == "0.05 was not tried"
    assert (row["seeds"], row["CACC"], row["seconds"]) == ("0", "", "")
    assert row["threshold, best"] == "0.01"


def test_a_seed_that_tried_another_threshold_is_left_out_of_the_mean(tmp_path):
    late = replace(set_beforehand(0.01), seed=2)

    (row,) = by_title(rows_of(tmp_path, set_beforehand(0.05), late))

    assert (row["threshold"], row["seeds"], row["chosen by"]) == ("0.05", "1", "beforehand")


def test_what_is_decided_once_is_named_so_and_rejections_have_their_columns(tmp_path):
    scores = Scores(0.9, 1000, 0.2, 0.5, 0.1, 400, 0.015, 0.875)

    (row,) = by_title(rows_of(tmp_path, record("defended", choice=None, scores=scores)))

    assert (row["chosen by"], row["threshold"]) == ("decided once", "")
    assert (row["rejected, clean"], row["rejected, attacked"]) == ("1.5", "87.5")


def test_without_a_defense_there_is_nothing_to_choose(tmp_path):
    grid = chosen_grid(rows_of(tmp_path, record("poisoned")))

    assert (grid.titles, grid.lines) == ((), ())


def published_of(folder, *defenses, attack="badnets", dataset="sst2"):
    where = {"attack": attack, "dataset": dataset}
    controls = [
        record(arm, choices=chosen(defense="none", **where)) for arm in ("poisoned", "tuned")
    ]
    rows = [record("defended", 0.001, choices=chosen(defense=name, **where)) for name in defenses]
    return {
        row["defense"] if row["arm"] == "defended" else row["arm"]: row.get("published")
        for row in by_title(rows_of(folder, *controls, *rows))
    }


def test_published_figures_stand_beside_with_their_setting(tmp_path):
    assert published_of(tmp_path, "onion", "btu", "finetune") == {
        "poisoned": "100 ASR, ~96 CACC (RoBERTa-large, 20 % dirty); 100 ASR, 91.6 CACC (BERT); "
        "100 ASR, 91.5 CACC (BERT, 10 % mixed labels)",
        "tuned": NOT_AVAILABLE,
        "onion": "56.8 ASR, 92.8 CACC (RoBERTa-large, 20 % dirty)",
        "btu": NOT_AVAILABLE,
        "finetune": "16.5 ASR, 62.5 CACC (BERT)",
    }


def test_published_figures_are_of_this_attack_and_data_set_alone(tmp_path):
    assert (
        published_of(tmp_path / "1", "merge", "onion", dataset="agnews")["merge"] == NOT_AVAILABLE
    )
    style = published_of(tmp_path / "2", "merge", "onion", attack="style")
    assert set(style.values()) == {NOT_AVAILABLE}


def test_one_defense_without_published_figures_has_no_such_column(tmp_path):
    assert published_of(tmp_path, "btu", attack="style")["btu"] is None


def test_sources_name_the_settings_of_the_figures_shown_alone(tmp_path):
    rows = rows_of(
        tmp_path,
        record(
            "defended", 0.1, choices=chosen(defense="finetune", attack="badnets", dataset="sst2")
        ),
    )

    assert list_sources(row.picked for row in rows) == ["BERT: Security & Safety 2024, Table 7."]


def test_no_figure_is_published_twice():
    told = [(f.method, f.attack, f.dataset, f.setting) for f in FIGURES]

    assert len(told) == len(set(told))
    assert all(0 <= float(f.asr) <= 100 for f in FIGURES)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A report on the small study."""
    folder = tmp_path_factory.mktemp("chosen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("btu.report.write.PER_SECTION", 0)
        write_report([write(folder / "records", *small_study())], folder / "out")
    return folder / "out"


def test_page_markdown_and_csv_have_the_same_choices(out):
    page, md = ((out / f"report.{end}").read_text(encoding="utf-8") for end in ("html", "md"))
    with (out / "chosen.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["arm"] for row in rows] == [
        *("poisoned", "clean", "tuned", "trusted_only", "defended")
    ] * 2
    found = rows[4]
    assert (found["threshold"], found["chosen_by"], found["seeds"]) == (
        "0.001",
        "beforehand",
        "1 2",
    )
    assert [float(found[k]) for k in ("cacc", "excess", "best_threshold", "passes")] == (
        pytest.approx([0.91, 0.41, 0.002, 12])
    )
    assert "published" not in found
    assert rows[0]["best_cacc"] == ""
    assert '<section id="chosen"><h2>What a defender could have chosen</h2>' in page
    cells = ["0.001", "2", "91.0 ± 1.4", "51.0 ± 1.4", "10.0 ± 0.0", "41.0 ± 1.4", "0.002"]
    assert " | ".join(cells) in md
    assert '<td class=n data-title="excess">41.0 ± 1.4</td>' in page
    for about in (
        "costs at most 1 point of accuracy on the trusted rows",
        "each epoch of training",
    ):
        assert about in page
        assert about in md
