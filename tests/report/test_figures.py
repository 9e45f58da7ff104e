"""What figures show: an ablation against its setting, and more series than there are colours."""

import re
from dataclasses import replace

import pytest

from btu.report.drawn import draw
from btu.report.groups import group_records
from btu.report.palette import series_look
from btu.report.panels import axis_of
from btu.report.pictures import pictures
from btu.report.study import read_study
from tests.report.factory import chosen, configured, record, write


def drawn(folder, records, section):
    rows = [replace(r, key=f"k{number}") for number, r in enumerate(records)]
    groups = group_records(read_study([write(folder, *rows)]))
    return [p for p in pictures(groups) if p.section == section]


def axes_of(picture):
    from btu.report.palette import new_figure

    with new_figure(*picture.size) as figure:
        picture.draw(figure)
    return figure


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (["0.1", "0.2", "0.3"], "linear"),
        (["0.01", "0.03", "0.1"], "log"),
        (["0", "0.01", "0.1"], "symlog"),
        (["mean", "row_mean"], "categories"),
        (["100", "null"], "categories"),
        (["-1", "100"], "linear"),
        (["0", "0"], "linear"),
    ],
)
def test_a_setting_has_the_axis_that_its_values_ask_for(values, scale):
    assert axis_of("attack.poison_rate", values).scale == scale


def test_an_ablation_is_plotted_against_what_it_ablates(tmp_path):
    rows = []
    for rate, asr in ((0.01, 0.4), (0.03, 0.8), (0.1, 1.0)):
        config = configured(attack__poison_rate=rate)
        rows.append(record("poisoned", asr=asr, config=config, choices=chosen(defense="none")))
        rows.append(record("defended", 0.001, asr=0.2, config=config))

    (picture,) = drawn(tmp_path, rows, "ablations")
    figure = axes_of(picture)

    assert picture.title == "Effect of attack.poison_rate: a on d (m)"
    bottom = figure.axes[-1]
    assert (bottom.get_xscale(), bottom.get_xlabel()) == ("log", "attack.poison_rate")
    undefended = [li for li in figure.axes[0].lines if list(li.get_ydata()) == [40.0, 80.0, 100.0]]
    assert list(undefended[0].get_xdata()) == [0.01, 0.03, 0.1]


def test_a_setting_of_the_method_leaves_the_undefended_model_a_level(tmp_path):
    rows = [record("poisoned", choices=chosen(defense="none"))]
    for cutoff in ("mean", "row_mean"):
        config = configured(defense__btu__cutoff=cutoff)
        rows += [record("defended", t, config=config) for t in (0.001, 0.002)]

    (picture,) = drawn(tmp_path, rows, "ablations")

    assert picture.title == "Effect of defense.btu.cutoff: a on d (m)"
    assert "undefended: CACC" in picture.alt
    assert "btu at row_mean: CACC" in picture.alt


def test_settings_that_only_move_together_are_no_ablation(tmp_path):
    rows = [
        record(
            "defended", 0.001, config=configured(attack__poison_rate=r, model__training={"e": e})
        )
        for r, e in ((0.1, 1), (0.2, 2))
    ]

    assert drawn(tmp_path, rows, "ablations") == []


def test_two_dozen_series_look_different():
    looks = [series_look(number) for number in range(24)]

    assert len({(look.color, look.line) for look in looks}) == 24
    assert len({(look.color, look.marker) for look in looks}) == 24


def test_an_asr_below_the_base_rate_is_no_whiter_than_one_at_it(tmp_path):
    rows = [
        record("poisoned", asr=a, base=0.3, choices=chosen(attack=n, defense="none"))
        for n, a in (("below", 0.1), ("at", 0.3))
    ]
    rows += [
        record("defended", 0.001, asr=0.3, base=0.3, choices=chosen(attack=n))
        for n in ("below", "at")
    ]

    (picture,) = drawn(tmp_path, rows, "heat-maps")
    cells = axes_of(picture).axes[0].patches

    assert len({cell.get_facecolor() for cell in cells}) == 1


def against(attack, excess_and_loss):
    """Records of one attack: the undefended and tuned models, and defenses decided once."""
    choices = chosen(attack=attack, defense="none")
    rows = [record("poisoned", cacc=0.95, choices=choices), record("tuned", choices=choices)]
    for name, (excess, loss) in excess_and_loss.items():
        values = {"cacc": 0.9 - loss / 100, "asr": 0.1 + excess / 100, "choice": None}
        rows.append(record("defended", choices=chosen(attack=attack, defense=name), **values))
    return rows


def test_the_front_joins_the_means_that_no_other_mean_beats(tmp_path):
    rows = against("a", {"strong": (0, 9), "mild": (40, 0), "beaten": (50, 1), "once": (0, 0)})
    rows += against("b", {"strong": (2, 11), "mild": (20, 0), "beaten": (30, 1)})

    (picture,) = drawn(tmp_path, rows, "fronts")
    axes = axes_of(picture).axes[0]

    assert "front of the means over attacks: strong and mild." in picture.alt
    assert "strong: excess 1.0, CACC lost 10.0; mild: excess 30.0, CACC lost 0.0." in picture.alt
    assert "once against a: excess 0.0" in picture.alt  # it has no mean: not tried against b
    front = [line for line in axes.lines if line.get_marker() == "*" and len(line.get_xdata())]
    assert [round(float(x), 6) for line in front for x in line.get_xdata()] == [1, 30]
    assert axes.yaxis_inverted()
    assert {text.get_text() for text in axes.texts} == {"strong", "mild"}


def test_a_mark_stands_at_the_threshold_chosen_and_is_joined_to_the_best(tmp_path):
    undefended = chosen(defense="none")
    rows = [record("poisoned", cacc=0.95, choices=undefended)]
    for name in ("one", "two"):
        rows += [
            record("defended", threshold, cacc, asr, choices=chosen(defense=name))
            for threshold, cacc, asr in ((0.001, 0.93, 0.6), (0.002, 0.9, 0.1))
        ]

    (picture,) = drawn(tmp_path, rows, "fronts")
    joined = axes_of(picture).axes[0].lines[0]

    assert [round(float(x), 6) for x in joined.get_xdata()] == [50, 0]
    assert [round(float(y), 6) for y in joined.get_ydata()] == [2, 5]  # nothing was tuned


def test_a_single_defense_or_none_that_can_be_compared_has_no_front(tmp_path):
    one = against("a", {"one": (0, 0)})
    bare = [r for r in against("a", {"one": (0, 0), "two": (1, 1)}) if r.arm == "defended"]

    assert drawn(tmp_path / "1", one, "fronts") == []
    assert drawn(tmp_path / "2", bare, "fronts") == []


def test_fourteen_defenses_against_four_attacks_differ_in_look_and_follow_the_theme(tmp_path):
    names = [f"<b>$x_{number}$</b>" for number in range(14)]
    rows = [r for attack in "abcd" for r in against(attack, dict.fromkeys(names, (5, 1)))]

    (picture,) = drawn(tmp_path, rows, "fronts")
    svg = draw(picture, "front", tmp_path).svg

    assert not re.search(r"(?:fill|stroke): #", svg)
    assert "<b>" not in svg
    legend = axes_of(picture).legends[0].get_lines()
    looks = {(li.get_color(), li.get_fillstyle(), li.get_marker()) for li in legend}
    assert len(looks) == 14 + 4 + 2


def test_more_attacks_than_markers_are_not_all_drawn(tmp_path):
    rows = [r for at in "abcdefghi" for r in against(at, {"one": (1, 1), "two": (2, 2)})]

    (picture,) = drawn(tmp_path, rows, "fronts")

    assert picture.title.endswith("(7 of 9 attacks and settings)")
    assert "against i" not in picture.alt


@pytest.mark.parametrize(("num_defenses", "turned"), [(3, False), (14, True)])
def test_a_heat_map_of_many_defenses_is_as_narrow_as_its_attacks(tmp_path, num_defenses, turned):
    names = {f"d{number}": (number, 1) for number in range(num_defenses)}
    rows = [r for attack in "ab" for r in against(attack, names)]

    (picture,) = drawn(tmp_path, rows, "heat-maps")
    axes = axes_of(picture).axes[0]
    ticks = [axes.get_yticklabels(), axes.get_xticklabels()]
    attacks, defenses = ([t.get_text() for t in labels] for labels in ticks[:: 1 - 2 * turned])
    cells = {text.get_position(): text.get_text() for text in axes.texts}

    assert attacks == ["a", "b"]
    assert set(defenses) == {"undefended", *names}
    assert picture.size[0] < 9
    at = defenses.index("d2")
    assert cells[(0, at) if turned else (at, 0)] == "ASR 12.0 (10.0)\nCACC 89.0"
    assert "a, d2: ASR 12.0 (10.0) CACC 89.0" in picture.alt
