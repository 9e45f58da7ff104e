"""The written report: one file that loads nothing, the same numbers in every format."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from btu.report import write as write_module
from btu.report.drawn import FORMATS
from btu.report.grids import percent
from btu.report.groups import average
from btu.report.planted_page import mark_text
from btu.report.write import write_report
from btu.types import Scores
from tests.report.factory import (
    DRIFT,
    chosen,
    configured,
    finding,
    record,
    small_study,
    suspect,
    verdict,
    write,
    write_job,
)

NASTY = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tags with their attributes, the rows of tables, and the packed data."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.tables, self.data = [], {}, ""
        self._table = self._cell = None
        self._in_data = False
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.packed = json.loads(self.data)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "table":
            self._table = self.tables.setdefault(found["id"], [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th"):
            self._cell = []
        self._in_data = tag == "script" and found.get("id") == "data"

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._table[-1].append("".join(self._cell))
            self._cell = None
        elif tag == "script":
            self._in_data = False

    def handle_data(self, data):
        if self._in_data:
            self.data += data
        elif self._cell is not None:
            self._cell.append(data)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A report on the small study."""
    folder = tmp_path_factory.mktemp("study")
    write_report([write(folder / "records", *small_study())], folder / "out")
    return folder


@pytest.fixture(scope="module")
def page(study):
    return Page(study / "out" / "report.html")


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """A report whose every name is an attack on its reader."""
    folder = tmp_path_factory.mktemp("nasty")
    choices = {**chosen(attack=NASTY, dataset="a|b_&%", defense='"><img src=x onerror=y>')}
    drift = tuple(replace(d, trigger={f"{NASTY}$x^2$": 1.0}) for d in DRIFT)
    rows = [
        record("poisoned", choices={**choices, "defense": "none"}),
        *(
            record(
                "defended",
                threshold,
                choices=choices,
                suspects=(suspect(NASTY, leans_to="a|b"), suspect("_&%", id=8)),
                drift=drift,
                config=configured(defense__btu__cutoff=NASTY if threshold == 0.001 else "mean"),
            )
            for threshold in (0.001, 0.002)
        ),
    ]
    write(folder / "records", *(replace(r, key=f"k{n}") for n, r in enumerate(rows)))
    (folder / "records" / f"{NASTY.replace('/', '')}.json").write_text("{")
    job = write_job(folder / "job", "failed", error=f"{NASTY} a|b", name=NASTY)
    write_report([folder / "records", job], folder / "out")
    return folder / "out"


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without pictures, which take most of the time."""
    monkeypatch.setattr(write_module, "PER_SECTION", 0)


def test_the_page_loads_nothing(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert "http" not in page.text
    assert "@import" not in page.text
    assert not re.search(r"url\((?!#)", page.text)


def test_every_reference_within_the_page_has_its_target(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    used = {a["href"][1:] for _, a in page.tags if "href" in a}
    used |= set(re.findall(r"url\(#([^)]+)\)", page.text))

    assert len(ids) == len(set(ids))
    assert used <= set(ids)


def test_pictures_follow_the_theme(page):
    svgs = re.findall(r"<svg.*?</svg>", page.text, flags=re.S)

    assert svgs
    for svg in svgs:
        assert not re.search(r"(?:fill|stroke): #", svg)
        assert "var(--ink)" in svg
        assert "<title>" in svg


def test_filters_have_their_menus_and_everything_has_its_labels(page):
    menus = {a["name"] for tag, a in page.tags if tag == "select"}
    options = {a["value"] for tag, a in page.tags if tag == "option"}
    figures = [a for tag, a in page.tags if tag == "figure"]
    names = {"dataset", "attack", "model", "defense"}

    assert menus == names
    assert {"a", "b", "btu"} <= options
    assert len(figures) == 3 + 2 + 1 + 2  # curves, trade-offs, a heat map, distances
    for figure in figures:
        assert all(json.loads(figure[f"data-{name}"]) for name in names)
    assert {tuple(json.loads(f["data-attack"])) for f in figures} == {("a",), ("b",), ("a", "b")}
    assert [page.tables["table-complete"][0][at] for at in page.packed["complete"]["labels"]] == [
        "dataset",
        "attack",
        "model",
        "defense",
    ]


def test_every_format_has_the_same_numbers(study, page):
    out = study / "out"
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    head, *main = page.tables["table-main"]
    shown = [dict(zip(head, cells, strict=True)) for cells in main]
    complete = [
        dict(zip(page.tables["table-complete"][0], row[:-1], strict=True))
        for row in page.packed["complete"]["rows"]
    ]
    md, tex = ((out / n).read_text(encoding="utf-8") for n in ("report.md", "report_long.tex"))

    assert len(rows) == len(complete) == 14
    assert len(shown) == 10
    for raw, row in zip(rows, complete, strict=True):
        assert raw["arm"] == row["arm"]
        for name, title in (("cacc", "CACC"), ("asr", "ASR"), ("base_rate", "base rate")):
            share = f"{100 * float(raw[name]):.1f} ± {100 * float(raw[f'{name}_std']):.1f}"
            assert row[title] == share
        assert (raw["num_clean"], raw["num_triggered"]) == ("1000", "400")
    for row in shown:
        assert row in complete
        cells = [row[k] for k in ("CACC", "ASR", "base rate")]
        plain_md, plain_tex = md.replace("**", ""), re.sub(r"\\textbf\{([^}]*)\}", r"\1", tex)
        assert " | ".join(cells) in plain_md
        assert " & ".join(cells).replace(" ± ", r"$\pm$") in plain_tex


def test_the_best_row_is_bold(study, page):
    bold = re.findall(r"<b>([^<]*)</b>", page.text)
    md = (study / "out" / "report.md").read_text(encoding="utf-8")

    # of each attack: CACC and excess of the one row shown, and its score, 0.88 and 0.9 - 0.02
    assert bold == ["89.0 ± 1.4", "1.0 ± 1.4", "88.0 ± 0.0"] * 2
    assert re.findall(r"\*\*([^*]*)\*\*", md) == bold


def test_equal_records_give_equal_bytes_wherever_they_lie(study, tmp_path):
    write(tmp_path / "records", *reversed(small_study()))
    write_report([tmp_path / "records"], tmp_path / "out")

    def files(out):
        return {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}

    assert files(tmp_path / "out") == files(study / "out")


def test_names_and_tokens_of_records_stay_text(nasty):
    page = Page(nasty / "report.html")
    md, tex = ((nasty / f"report.{end}").read_text(encoding="utf-8") for end in ("md", "tex"))

    assert sum(tag == "script" for tag, _ in page.tags) == 2  # the data and our own
    assert not any(tag == "img" for tag, _ in page.tags)
    assert NASTY not in page.text
    assert NASTY not in md.replace("\\", "")
    assert any(NASTY in row for row in page.packed["suspects"]["rows"])
    assert any(NASTY in row for row in page.packed["complete"]["rows"])
    assert r"a|b_&%" not in md
    assert r"a\textbar{}b\_\&\%" in tex
    for line in md.splitlines():
        if line.startswith("| ") and "a\\|b\\_" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) > 4
    assert f"{NASTY} a|b" in page.tables["table-jobs"][1]


def test_no_training_text_is_in_a_report(study):
    for path in (study / "out").glob("report.*"):
        assert "secret" not in path.read_text(encoding="utf-8")
    assert "cf" in (study / "out" / "report.md").read_text(encoding="utf-8")


def test_left_out_files_failed_jobs_and_leaks_are_in_the_report(tmp_path, undrawn):
    folder = write(tmp_path / "records", record("poisoned", leaky=True))
    (folder / "half.json").write_text("{")
    job = write_job(tmp_path / "job", "failed", error="no room on the disk.")
    write_report([folder, job], tmp_path / "out")

    page = Page(tmp_path / "out" / "report.html")

    assert page.tables["table-left-out"][1] == ["half.json", "is not a record"]
    assert page.tables["table-jobs"][1][:3] == ["job", "failed", "no room on the disk."]
    assert page.tables["table-main"][1][-1] == "LEAKY"
    for end in ("html", "md", "tex"):
        assert "LEAKY" in (tmp_path / "out" / f"report.{end}").read_text(encoding="utf-8")
    assert "half.json" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_pictures_beyond_the_cap_are_named_and_not_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(write_module, "PER_SECTION", 1)
    folder = write(tmp_path / "records", *small_study())
    stale = tmp_path / "out" / "figures" / "curves-of-an-earlier-report.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    (stale.parent / "own.png").write_bytes(b"")
    write_report([folder], tmp_path / "out")

    page = Page(tmp_path / "out" / "report.html")

    for ending in FORMATS:
        assert len(list((tmp_path / "out" / "figures").glob(f"curves-*.{ending}"))) == 1
    assert (stale.parent / "own.png").exists()
    assert "<li>btu against b on d (m)</li>" in page.text


def test_a_study_without_a_trigger_has_a_report_without_attack_scores(tmp_path, undrawn):
    scores = Scores(0.9, 1000, None, None, None, 0)
    rows = [record("poisoned", scores=scores), record("defended", 0.001, scores=scores)]
    write_report([write(tmp_path / "records", *rows)], tmp_path / "out")

    page = Page(tmp_path / "out" / "report.html")
    head, *main = page.tables["table-main"]

    assert len(main) == 2
    assert {row[head.index("ASR")] for row in main} == {""}
    assert "data-attack" in page.text


def test_the_csv_says_how_well_the_suspects_hit_the_trigger(tmp_path, undrawn):
    rows = [
        record("poisoned"),
        record("defended", 0.001, detection={"precision": 0.5, "recall": 1.0}),
        record("defended", 0.001, seed=2, detection={"precision": None, "recall": 0.0}),
    ]
    rows = [replace(r, suspects=(suspect("cf"),)) if r.threshold else r for r in rows]
    write_report([write(tmp_path / "records", *rows)], tmp_path / "out")

    with (tmp_path / "out" / "report.csv").open(encoding="utf-8", newline="") as file:
        poisoned, defended = csv.DictReader(file)

    names = ("num_suspects", "precision", "recall")
    assert [poisoned[name] for name in names] == ["", "", ""]
    assert [defended[name] for name in names] == ["1.0", "0.5", "0.5"]


def test_tokens_of_any_script_and_length_are_drawn_without_a_warning(tmp_path, recwarn):
    drift = tuple(replace(d, trigger={"触发": 1.0, "x" * 300: 2.0}) for d in DRIFT)
    choices = chosen(attack="攻击" * 40, defense="d" * 200)
    rows = [
        record("poisoned", choices={**choices, "defense": "none"}),
        *(record("defended", t, choices=choices, drift=drift) for t in (0.001, 0.002)),
    ]
    write_report([write(tmp_path / "records", *rows)], tmp_path / "out")

    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == 5
    assert [str(w.message) for w in recwarn] == []


def test_percentages_have_a_spread_from_two_seeds_on():
    assert percent(average([0.1])) == "10.0"
    assert percent(average([0.1, 0.2])) == "15.0 ± 7.1"
    assert percent(None) == ""


def reported(folder, *records):
    """The page and the rows of the CSV of a report on these records."""
    write_report([write(folder / "records", *records)], folder / "out")
    with (folder / "out" / "report.csv").open(encoding="utf-8", newline="") as file:
        return Page(folder / "out" / "report.html"), list(csv.DictReader(file))


def test_trusted_rows_only_is_in_every_format_and_a_column_of_the_heat_map(study, page):
    out = study / "out"

    arms = [row[page.tables["table-main"][0].index("arm")] for row in page.tables["table-main"][1:]]
    assert arms.count("trusted_only") == 2
    assert r"trusted\_only" in (out / "report.md").read_text(encoding="utf-8")
    assert r"trusted\_only" in (out / "report_long.tex").read_text(encoding="utf-8")
    assert r"trusted rows\\only" in (out / "report.tex").read_text(encoding="utf-8")
    assert "a, trusted rows only: ASR 20.0" in page.text
    assert page.text.count("trusted rows only</text>") == 1 + 3 + 1  # overview, curves, heat map


def test_a_method_that_is_decided_once_is_a_row_and_a_mark_but_no_curve(tmp_path):
    rows = [record("poisoned"), record("defended", asr=0.2, drift=DRIFT)]

    page, (_, defended) = reported(tmp_path, *rows)

    assert defended["threshold"] == ""
    assert defended["best"] == "True"
    figures = {path.name for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert {name.split("-d-")[0] for name in figures} == {
        "overview",
        "trade-offs",
        "distances",
        "heat-maps",
    }
    assert "threshold None" not in page.text
    assert "btu against a on d (m): Round 1" in page.text


def test_rejected_shares_have_columns_only_where_a_defense_rejects(tmp_path, page, undrawn):
    scores = Scores(0.9, 1000, 0.2, 0.5, 0.1, 400, 0.015, 0.875)

    rejecting, (poisoned, defended) = reported(
        tmp_path, record("poisoned"), record("defended", 0.01, scores=scores)
    )

    head, _, shown = rejecting.tables["table-main"]
    assert shown[head.index("rejected, clean")] == "1.5"
    assert shown[head.index("rejected, attacked")] == "87.5"
    assert (defended["rejected_clean"], defended["rejected_triggered"]) == ("0.015", "0.875")
    assert poisoned["rejected_clean"] == ""
    assert not any("rejected" in title for title in page.tables["table-main"][0])


def test_thresholds_of_two_kinds_share_neither_axis_nor_heading(tmp_path):
    kinds = {"btu": "share of the vocabulary", "strip": "false rejection rate"}
    rows = [
        record("defended", t, choices=chosen(defense=name), threshold_label=label)
        for name, label in kinds.items()
        for t in (0.01, 0.02)
    ]

    page, table = reported(tmp_path, record("poisoned"), *rows)

    for name, label in kinds.items():
        assert f"ASR and CACC in per cent by {label}, {name} against a on d (m)" in page.text
    head, *main = page.tables["table-main"]
    assert {row[head.index("threshold of")] for row in main} == {"", *kinds.values()}
    assert {row["threshold_label"] for row in table} == {"", *kinds.values()}


def test_a_table_of_one_kind_of_threshold_does_not_repeat_it(page):
    assert "threshold of" not in page.tables["table-main"][0]


def test_the_first_screen_states_the_finding_and_shows_one_picture(page):
    head = page.text.split('<div class="lead">')[1].split("<nav")[0]

    assert "btu against a and b on d (m), 2 seeds" in head
    # a and b alike: ASR 100 over 10 %, then (0 + 2) / 2 points; CACC (90 + 92) / 2, (88 + 90) / 2
    assert "goes from 90.0 to 1.0 points on average (at worst 1.0, a)" in head
    assert "CACC goes from 91.0 to 89.0 %" in head
    assert "The trusted rows alone give a CACC of 71.0 % and 10.0 points." in head
    assert head.count("<svg") == 1


def test_every_cell_names_its_column_for_a_narrow_screen(page):
    cells = [a for tag, a in page.tags if tag == "td"]

    assert cells
    assert all(cell["data-title"] for cell in cells)


def test_what_all_rows_share_is_said_once_above_the_table(page):
    assert (
        "In every row: dataset d, model m, seeds 2, test rows 1000, attacked rows 400." in page.text
    )


def test_figures_come_as_png_svg_and_pdf(study):
    folder = study / "out" / "figures"

    stems = {path.stem for path in folder.iterdir()}
    assert {path.name for path in folder.iterdir()} == {f"{s}.{e}" for s in stems for e in FORMATS}
    for path in folder.glob("*.png"):
        assert int.from_bytes(path.read_bytes()[16:20], "big") == 1600  # the width in its header
    assert "curves-d-m-btu-all-attacks" in stems


def test_the_csv_of_seeds_has_the_scores_that_the_means_are_of(study):
    rows = {name: [] for name in ("report.csv", "report_seeds.csv")}
    for name, found in rows.items():
        with (study / "out" / name).open(encoding="utf-8", newline="") as file:
            found += csv.DictReader(file)
    names = ("attack", "arm", "threshold")

    assert len(rows["report_seeds.csv"]) == 28
    for row in rows["report.csv"]:
        same = [r for r in rows["report_seeds.csv"] if all(r[n] == row[n] for n in names)]
        assert [r["seed"] for r in same] == row["seeds"].split()
        for score in ("cacc", "asr", "excess", "score"):
            mean = sum(float(r[score]) for r in same) / len(same)
            assert mean == pytest.approx(float(row[score]))


def test_what_cannot_be_seen_is_spelled_out_in_figures_too(tmp_path):
    drift = tuple(replace(d, trigger={"a\u202eb\x1b": 1.0}) for d in DRIFT)
    rows = [record("poisoned"), record("defended", 0.001, drift=drift, threshold_label="x\u202ey")]
    rows.append(record("defended", 0.002, threshold_label="x\u202ey"))

    page, _ = reported(tmp_path, *rows)

    assert "\u202e" not in page.text
    assert "\x1b" not in page.text
    assert "a\\u202eb\\u001b" in page.text


def marked_rows(text="a film", marked=()):
    return [{"row": 3, "text": text, "marked": marked, "label": NASTY, "reference": "no"}]


def test_the_page_shows_what_was_planted_with_its_rows_and_no_markup_of_theirs(tmp_path, undrawn):
    text = f"so {NASTY} good\u202e"
    shown = finding(
        NASTY, examples=marked_rows(text, [[3, 28], [5, 9], [40, 2], [-4, 2], [30, 99]])
    )
    acquitted = finding("mn", q=0.0584, reason=f"no proof {NASTY}")
    told = {"strict": verdict(shown, acquitted=[acquitted], notes=[NASTY])}
    rows = [record("poisoned"), record("defended", 0.05, evidence=told)]

    page, _ = reported(tmp_path, *rows)
    md = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")

    assert NASTY not in page.text
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert "<mark>so</mark> <mark>&lt;script&gt;alert(1)&lt;/script&gt;</mark>" in page.text
    assert "<mark>ood\\u202e</mark></q>" in page.text
    head, row = page.tables["table-planted-1"]
    found = dict(zip(head, row, strict=True))
    assert found["what"] == NASTY
    assert found["turned in the victim"] == "40 of 40 (91 to 100 %)"
    assert found["turned in the reference"] == "0 of 40 (0 to 9 %)"
    assert (found["contradicted"], found["p of contradiction"]) == ("63 of 69", "< 1e-300")
    assert (found["rows of the label"], found["q"]) == ("69 (1.0 %)", "8e-09")
    (_, spared) = page.tables["table-acquitted-1"]
    assert (spared[0], spared[2], spared[-1]) == ("mn", f"no proof {NASTY}", "0.058")
    assert "<details><summary>1 suspected and acquitted</summary>" in page.text
    (article,) = (a for tag, a in page.tags if tag == "article")
    assert json.loads(article["data-defense"]) == ["btu"]
    assert "## What was planted" in md
    assert "good" not in md
    assert NASTY not in md


def test_each_seed_has_its_verdict_and_a_page_without_any_has_no_such_section(
    page, tmp_path, undrawn
):
    told = {"strict": verdict(), "mine": {"findings": NASTY, "acquitted": []}}
    rows = [record("defended", 0.05, evidence=told, seed=seed) for seed in (1, 2)]

    planted, _ = reported(tmp_path, record("poisoned"), *rows)

    assert planted.text.count("0 convicted at error rate 0.05; 8,662 tests") == 2
    assert planted.text.count("what mine convicted cannot be shown") == 2
    assert "threshold 0.05, seed 2</h3>" in planted.text
    assert "threshold 0.05: something was convicted in 0 of 2 seeds.</p>" in planted.text
    assert 'id="planted"' not in page.text


def test_a_row_tells_in_how_many_seeds_something_was_convicted(tmp_path, undrawn):
    guilty, acquitted = ({"strict": verdict(*found)} for found in ([finding("cf")], []))
    rows = [
        record("defended", 0.05, evidence=told, seed=seed)
        for seed, told in enumerate((guilty, acquitted, guilty), 1)
    ]

    page, _ = reported(tmp_path, record("poisoned"), *rows)
    md = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")

    for text in (page.text, md):
        assert text.count("something was convicted in 2 of 3 seeds") == 1


def test_a_long_text_is_cut_around_its_first_mark():
    text = "x" * 1000 + "cf" + "<" * 1000

    shown = mark_text(text, [(1000, 1002)])

    assert shown.startswith("... xx")
    assert "x<mark>cf</mark>&lt;" in shown
    assert shown.endswith("&lt; ...")
    assert len(shown) < 2000
    assert mark_text("ab", []) == "ab"
