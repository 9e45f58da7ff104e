"""Rows hold what agrees in everything but the seed; means and spreads by hand."""

from dataclasses import replace

import pytest

from btu.errors import DataError
from btu.report.best import all_rows, best_repairs, main_rows
from btu.report.groups import average, group_records
from btu.report.study import read_study
from btu.types import ARM_NAMES, Scores
from tests.report.factory import PROVENANCE, chosen, configured, record, small_study, write


def grouped(folder, *records):
    return group_records(read_study([write(folder, *records)]))


def keyed(*records):
    return [replace(r, key=f"k{number}") for number, r in enumerate(records)]


def test_mean_and_sample_standard_deviation_over_seeds(tmp_path):
    rows = [
        record("defended", 0.001, cacc=0.8, asr=0.3, base=0.2, seed=1),
        record("defended", 0.001, cacc=0.9, asr=0.1, base=0.2, seed=2),
    ]

    (group,) = grouped(tmp_path, *rows)

    assert group.seeds == (1, 2)
    assert group.cacc.mean == pytest.approx(0.85)
    assert group.cacc.std == pytest.approx(0.05 * 2**0.5)  # n - 1
    assert group.excess.mean == pytest.approx(0.05)  # below the base rate is 0
    assert group.score.mean == pytest.approx((0.8 - 0.1 + 0.9) / 2)  # below the base is no bonus


def test_one_seed_has_no_spread_and_what_was_not_measured_has_no_mean():
    assert average([0.5]).std is None
    assert average([None, 0.5]).num_seeds == 1
    assert average([None]) is None


@pytest.mark.parametrize(
    ("config", "column"),
    [
        (configured(attack__poison_rate=0.2), "attack.poison_rate"),
        (configured(attack__triggers=["cf"]), "attack.triggers"),
        (configured(defense__btu__cutoff="frobenius"), "defense.btu.cutoff"),
        (configured(defense__btu__rounds=[{"kind": "full"}]), "defense.btu.rounds.0.kind"),
        (configured(model__training={"epochs": 3}), "model.training.epochs"),
        (configured(extra=7), "extra"),
    ],
)
def test_a_mean_never_crosses_two_values_of_a_setting(tmp_path, config, column):
    rows = keyed(
        record("defended", 0.001, cacc=0.8, seed=1),
        record("defended", 0.001, cacc=0.6, seed=2, config=config),
    )

    groups = grouped(tmp_path, *rows)

    assert [len(g.records) for g in groups] == [1, 1]
    assert column in groups[0].settings
    assert groups[0].settings[column] != groups[1].settings[column]


@pytest.mark.parametrize(
    ("change", "column"),
    [({"device": "cuda:0"}, "device"), ({"precision": "fp32"}, "precision"), ({"btu": "2"}, "btu")],
)
def test_a_mean_never_crosses_two_devices_or_versions(tmp_path, change, column):
    rows = keyed(
        record("poisoned", seed=1),
        record("poisoned", seed=2, provenance={**PROVENANCE, **change}),
    )

    groups = grouped(tmp_path, *rows)

    assert [len(g.records) for g in groups] == [1, 1]
    assert list(groups[0].settings) == [column]


def test_the_number_of_a_gpu_and_run_level_settings_need_no_column(tmp_path):
    elsewhere = configured(seed=2, thresholds=[1], arms=["clean"], device="cuda")
    rows = [
        record("poisoned", seed=1, provenance={**PROVENANCE, "device": "cuda:0"}),
        record("poisoned", seed=2, provenance={**PROVENANCE, "device": "cuda:1"}, config=elsewhere),
    ]

    (group,) = grouped(tmp_path, *rows)

    assert group.settings == {}


def test_consequences_of_a_choice_need_no_column(tmp_path):
    other = configured(attack__poison_rate=0.2, attack__name="b")
    released = configured(defense__btu__cutoff="frobenius")
    rows = [
        record("defended", 0.001),
        record("defended", 0.001, choices=chosen(attack="b"), config=other),
        record("defended", 0.001, choices=chosen(defense="btu_reference"), config=released),
    ]

    assert all(group.settings == {} for group in grouped(tmp_path, *rows))


def test_which_defense_of_a_combination_is_swept_needs_no_column_beside_its_name(tmp_path):
    rows = [
        record("defended", 0.001),
        record(
            "defended",
            0.001,
            choices=chosen(defense="cube+btu"),
            config=configured(swept_defense="cube"),
        ),
    ]

    assert all(group.settings == {} for group in grouped(tmp_path, *rows))


def test_a_setting_that_is_always_the_seed_is_no_column(tmp_path):
    def rows(draws):
        return keyed(
            *(
                record("poisoned", seed=seed, config=configured(dataset__draw=draw))
                for seed, draw in enumerate(draws, 1)
            )
        )

    (group,) = grouped(tmp_path / "seed", *rows([1, 2, 3]))
    others = grouped(tmp_path / "other", *rows([1, 2, 2]))

    assert group.seeds == (1, 2, 3)
    assert [each.settings["dataset.draw"] for each in others] == ["1", "2"]


def test_undefended_records_are_shared_by_all_defenses(tmp_path):
    rows = [
        record("poisoned", seed=1),
        record("poisoned", seed=2, config=configured(defense__btu__cutoff="frobenius")),
    ]

    (group,) = grouped(tmp_path, *rows)

    assert group.seeds == (1, 2)


def test_a_rate_that_differs_between_defended_and_undefended_parts_their_blocks(tmp_path):
    rows = [
        record("poisoned"),
        record("defended", 0.001, config=configured(attack__poison_rate=0.2)),
    ]

    one, two = grouped(tmp_path, *rows)

    assert one.block != two.block


def test_one_seed_twice_is_an_error_that_names_the_files_and_what_differs(tmp_path):
    rows = keyed(
        record("poisoned"), record("poisoned", provenance={**PROVENANCE, "commit": "d" * 40})
    )

    with pytest.raises(DataError, match=r"seed 1 .*0000.* and .*0001.*commit.*Leave one"):
        grouped(tmp_path, *rows)


def test_the_main_table_has_the_undefended_rows_and_each_arm_at_its_best_threshold(tmp_path):
    rows = main_rows(grouped(tmp_path, *small_study()))

    assert [(r.group.attack, r.group.arm.name, r.group.threshold) for r in rows] == [
        (attack, arm, threshold)
        for attack in "ab"
        for arm, threshold in (
            ("poisoned", None),
            ("clean", None),
            ("tuned", None),
            ("trusted_only", None),
            ("defended", 0.002),
        )
    ]


def test_best_values_are_marked_among_the_repaired_rows_of_a_block_only(tmp_path):
    rows = [r for r in all_rows(grouped(tmp_path, *small_study())) if r.group.attack == "a"]

    assert [r.group.threshold for r in rows if r.best] == [0.002]
    assert [r.group.threshold for r in rows if r.lowest_excess] == [0.01]
    assert [r.group.threshold for r in rows if r.highest_cacc] == [0.001]  # tuned has a higher one


def test_a_row_that_another_beats_is_never_best_though_its_base_rate_rose(tmp_path):
    rows = [
        record("defended", 0.002, cacc=0.550, asr=1.0, base=0.589),  # score 13.9
        record("defended", 0.005, cacc=0.572, asr=1.0, base=0.494),  # score 6.6
    ]

    groups = grouped(tmp_path, *rows)

    assert [g.threshold for g in best_repairs(groups)] == [0.005]
    assert [r.group.threshold for r in all_rows(groups) if r.best] == [0.005]


def test_an_asr_below_the_base_rate_is_no_merit(tmp_path):
    rows = [
        record("defended", 0.001, cacc=0.8, asr=0.10, base=0.10),
        record("defended", 0.002, cacc=0.8, asr=0.10, base=0.40),
    ]

    marked = all_rows(grouped(tmp_path, *rows))

    assert [r.group.excess.mean for r in marked] == [0, 0]
    assert [r.lowest_excess for r in marked] == [True, True]
    assert [r.best for r in marked] == [True, True]
    assert main_rows([r.group for r in marked])[0].group.threshold == 0.001


@pytest.mark.parametrize(("plain", "threshold"), [(0.90, 0.002), (0.5, 0.01), (0.95, 0.001)])
def test_without_a_trigger_the_best_threshold_is_the_largest_that_costs_little(
    tmp_path, plain, threshold
):
    scores = {0.001: 0.90, 0.002: 0.89, 0.01: 0.70}
    rows = [
        record("defended", t, scores=Scores(cacc, 10, None, None, None, 0))
        for t, cacc in scores.items()
    ]

    blind = Scores(plain, 10, None, None, None, 0)
    rows.append(record("poisoned", scores=blind, choices=chosen(defense="none")))

    (best,) = best_repairs(grouped(tmp_path, *rows))

    assert best.threshold == threshold
    assert not any(row.best for row in all_rows([best]))


def controls_of(*seeds, **changes):
    undefended = chosen(defense="none")
    arms = ("poisoned", "tuned", "trusted_only")
    return [record(arm, seed=s, choices=undefended, **changes) for arm in arms for s in seeds]


def test_the_controls_serve_every_defense_of_a_block(tmp_path):
    other = configured(defense={"strip": {"name": "strip", "copies": 8}})
    rows = [
        *controls_of(1),
        record("defended", 0.001),
        record("defended", 0.05, choices=chosen(defense="strip"), config=other),
    ]

    groups = grouped(tmp_path, *rows)

    assert len({group.block for group in groups}) == 1
    assert groups[0].settings == {}
    order = [(g.arm.name, g.defense) for g in groups]
    assert order[:3] == [(arm, "none") for arm in ("poisoned", "tuned", "trusted_only")]
    assert order[3:] == [("defended", "btu"), ("defended", "strip")]


def test_tuning_has_a_column_of_the_arms_that_use_trusted_rows_only(tmp_path):
    longer = configured(tuning__epochs=3)
    rows = keyed(
        *controls_of(1),
        record("tuned", choices=chosen(defense="none"), config=longer),
        record("unlearned", 0.001),
        record("defended", 0.001),
        record("defended", 0.001, config=longer),
    )

    groups = grouped(tmp_path, *rows)

    assert len({group.block for group in groups}) == 1
    shown = [(g.arm.name, g.settings["tuning.epochs"]) for g in groups]
    assert sorted(shown) == [
        ("defended", "1"),
        ("defended", "3"),
        ("poisoned", ""),
        ("trusted_only", ""),
        ("tuned", "1"),
        ("tuned", "3"),
        ("unlearned", ""),
    ]
    assert [(g.arm.name, g.settings["tuning.epochs"]) for g in best_repairs(groups)] == [
        ("defended", "1"),
        ("defended", "3"),
    ]


@pytest.mark.parametrize(
    ("setting", "arms"),
    [
        ("tuning__max_samples", {"tuned", "trusted_only", "defended"}),
        ("tuning__trusted_only_epochs", {"trusted_only"}),
        ("swept_defense", {"unlearned", "defended"}),
        ("defense__btu__cutoff", {"unlearned", "defended"}),
        ("defense__btu__thresholds", set()),
        ("attack__poison_rate", set(ARM_NAMES)),
    ],
)
def test_a_setting_parts_only_the_rows_to_which_it_matters(tmp_path, setting, arms):
    rows = [record(arm, seed=seed) for arm in ARM_NAMES for seed in (1, 2)]
    changed = configured(**{setting: 7})
    rows = keyed(*(replace(r, config=changed) if r.seed == 2 else r for r in rows))

    groups = grouped(tmp_path, *rows)

    assert {g.arm.name for g in groups if len(g.records) == 1} == arms


def test_thresholds_of_two_kinds_are_two_rows_and_two_variants(tmp_path):
    kinds = ("share of rows", "false rejection rate")
    rows = [record("defended", 0.1, threshold_label=kind, key=kind) for kind in kinds]

    one, two = grouped(tmp_path, *rows)

    assert one.variant != two.variant
    assert {one.threshold_label, two.threshold_label} == set(kinds)


def test_a_method_that_is_decided_once_has_one_row_which_is_the_best_of_its_arm(tmp_path):
    groups = grouped(tmp_path, record("poisoned"), record("defended", asr=0.2))

    assert [(r.group.arm.name, r.group.threshold, r.best) for r in main_rows(groups)] == [
        ("poisoned", None, False),
        ("defended", None, True),
    ]
