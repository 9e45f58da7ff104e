"""The page of an audit: what it says, in which order, and that nothing in a file can change it."""

import csv
import dataclasses
import itertools
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from btu.auditing.audited import audit
from btu.auditing.elements import say_chance
from btu.auditing.examined import Suspicion
from btu.auditing.page import HERE, make_page
from btu.report.verdicts import Effect, Example, Finding
from tests.auditing.test_audit import PLANTED, make_rows, make_trusted

VOID = {"meta", "br"}
WORDS = "defense.selfset.look_for=[words]"  # one finding of a kind that the tests know
NASTY = '<script>alert(1)</script><img src=x onerror=y> & "q" \u202egnol\u202c \x1b[31m'
LONG = "vozzik" + "x" * 10_000


class Page(HTMLParser):
    """What a browser makes of a page: its elements and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append((self.open[-1], data))

    @property
    def text(self):
        return " ".join("".join(data for _, data in self.texts).replace("\u00a0", " ").split())

    def find(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write a file and trusted rows, and audit the one by the other."""

    def run(rows, trusted=None, name="reviews.csv"):
        folder = tmp_path_factory.mktemp("page")
        pd.DataFrame(rows).to_csv(folder / name, index=False)
        if trusted is not None:
            trusted.to_csv(folder / "ours.csv", index=False)
        ours = None if trusted is None else folder / "ours.csv"
        return audit(folder / name, WORDS, trusted=ours, fast=True)

    return run


@pytest.fixture(scope="module")
def found(write):
    return write(make_rows(), make_trusted())


@pytest.fixture(scope="module")
def innocent(write):
    return write(make_rows(None), make_trusted())


@pytest.fixture(scope="module")
def alone(write):
    return write(make_rows())


@pytest.fixture(scope="module")
def nasty(write):
    """A file whose name, labels, columns and texts all try to be HTML."""

    def spoil(table):
        table = pd.DataFrame(table)
        table["text"] = NASTY + " " + table["text"]
        table["label"] = table["label"] + f" {NASTY}"
        return table.rename(columns={"vendor": f"vendor {NASTY}"})

    return write(spoil(make_rows(LONG)), spoil(make_trusted()), '<b>&"reviews.csv')


def with_finding(audited, **changes):
    """The same audit, its finding changed."""
    changed = dataclasses.replace(audited)
    finding = dataclasses.replace(audited.verdict.findings[0], **changes)
    verdict = dataclasses.replace(audited.verdict, findings=(finding,))
    changed.__dict__["verdict"] = verdict
    return changed


def test_verdict_comes_first_and_figures_last(found):
    page = Page(make_page(found))

    headings = [data for tag, data in page.texts if tag == "h2"]
    assert page.text.startswith("Something was planted in reviews.csv Audit of a file")
    assert "60 rows of 800 (7.5 %) hold what looks planted" in page.text
    assert headings[:3] == ["What was planted", "Which rows", "What to do"]
    assert headings[-2:] == ["What this page cannot tell", "All figures"]


def test_many_words_of_one_label_may_be_one_way_of_writing(found):
    audited = dataclasses.replace(found)
    findings = found.verdict.findings * 3
    audited.__dict__["verdict"] = dataclasses.replace(found.verdict, findings=findings)

    assert not any("one way of writing" in note for note in found.notes)
    assert any(
        note.startswith("3 words and phrases were found for the label positive: one way of writing")
        for note in audited.notes
    )
    assert repr(found).startswith("Planted: the word 'cf' makes texts positive")


def test_relabelled_rows_are_told_only_where_they_are_written(found):
    assert "relabelled.csv" not in make_page(found)
    assert "relabelled.csv" in make_page(found, relabelled=True)


def test_finding_says_what_it_does_and_how_sure_it_is(found):
    effect, text = found.verdict.findings[0].effect, Page(make_page(found)).text

    assert "The word 'cf' It is in 60 rows (7.5 % of the file) with the label positive" in text
    share = 100 * effect.victim / effect.texts
    assert f"calls {share:.1f} % of the texts it is added to positive" in text
    tried = f"added to {effect.texts} trusted texts with other labels that both models get right, "
    assert f"{tried}{effect.victim} of" in text
    assert "Of the 100 trusted rows with the label positive, none has it." in text
    assert re.search(r"Very sure \(q = \de-\d+\): .* in about 1 of [\d,]+ files\.", text)


def test_rows_have_the_numbers_and_labels_of_rows_csv(found, tmp_path):
    found.write(tmp_path)

    page = (tmp_path / "report.html").read_text("utf-8")
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    shown = re.findall(
        r"Row (\d+); label in the file: <b><bdi>(\w+)</bdi></b>; suggested: <b><bdi>(\w+)</bdi></b>"
        r'</figcaption><blockquote dir="auto">.*<mark>cf</mark>',
        page,
    )
    assert len(shown) == 3
    for number, label, suggested in shown:
        assert int(number) - 1 in PLANTED
        assert (rows[number]["label"], rows[number]["suggested_label"]) == (label, suggested)


def test_columns_and_what_to_do_are_told(found):
    text = Page(make_page(found)).text

    assert "All 60 rows found have vendor = b, of the other rows 247 of 740" in text
    assert "The column vendor points to b" in text
    assert "Use clean.csv instead of the file. It is reviews.csv without the 60 rows" in text
    assert "Retrain every model that was trained on reviews.csv" in text


def test_nothing_found_is_told_with_what_would_have_been_and_proves_nothing(innocent):
    page = Page(make_page(innocent))

    assert "Nothing was found in reviews.csv" in page.text
    assert innocent.examined.limits[0][1:] in page.text
    assert "Nothing found is not proof" in page.text
    assert "has all of them" in page.text
    assert "backdoor" not in page.text
    assert page.find("article") == []


def test_suspicions_are_told_with_the_trusted_rows_that_would_settle_them(innocent, found):
    finding = dataclasses.replace(found.examined.convicted[0][0], convicted=False)
    suspicion = Suspicion(finding, found.examined.convicted[0][1], needed=1_234)
    examined = dataclasses.replace(innocent.examined, unproven=(suspicion,))
    audited = dataclasses.replace(innocent, examined=examined)

    text = Page(make_page(audited)).text

    assert "Nothing was proven in reviews.csv" in text
    assert "1 thing is suspicious, but not proven" in text
    assert "The word 'cf' 60 rows with the label positive have it." in text
    assert "Row 1; label in the file: " in text
    assert "About 1,234 trusted rows would settle it, if none of them have it." in text
    assert "audit the file again with about 1,234 trusted rows" in text


def test_audit_without_trusted_rows_never_speaks_of_any(alone):
    assert alone.planted
    page = make_page(alone)

    before = Page(page.split('<section class="figures">')[0] + "</main></body></html>").text
    assert "Trusted rows to compare withnone" in before
    assert "texts of the file with other labels that both models get right" in before
    assert "one trained on the file without such rows" in before
    assert "this audit had none to compare with" in before
    assert "trained only on trusted rows" not in Page(page).text
    assert "trusted texts with other labels" not in Page(page).text


def test_rows_written_another_way_are_described_with_their_marks(found):
    way = with_finding(found, kind="rows", text="", marks=("when you", "^ if"), trusted=0)

    text = Page(make_page(way)).text

    assert "A way of writing 60 rows (7.5 % of the file) with the label positive" in text
    assert "What gives them away: 'when you' and" in text
    assert "When these words were added" in text
    assert "have it" not in text


def test_acquitted_are_listed_with_the_reason(found):
    effect = Effect(40, 3, (0.0, 0.2), 2, (0.0, 0.2))
    acquitted = Finding("words", "negative", 9, text="honest", reason="it turns few", effect=effect)
    audited = dataclasses.replace(found)
    audited.__dict__["verdict"] = dataclasses.replace(found.verdict, acquitted=(acquitted,))

    page = Page(make_page(audited))

    assert ("th", "honest") in page.texts
    assert ("td", "it turns few") in page.texts
    assert "3 of 40(0 to 20 %)" in page.text


def test_nothing_in_a_file_becomes_html(nasty):
    html = make_page(nasty)

    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "i", "a", "link", "iframe"}
    assert page.find("b") == [{}] * len(page.find("b"))
    assert "<script>alert(1)</script><img src=x onerror=y>" in page.text
    assert '<b>&"reviews.csv' in page.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", html)
    assert "x" * 1_000 not in html


def test_page_loads_nothing_and_runs_nothing(nasty):
    html = make_page(nasty)

    page = Page(html)
    policy = next(m["content"] for m in page.find("meta") if "http-equiv" in m)
    attributes = {name for _, attrs in page.elements for name in attrs}
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not attributes & {"src", "href", "srcset", "style", "action", "background"}
    assert not [name for name in attributes if name.startswith("on")]
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_page_can_be_read_by_a_screen_reader(found):
    page = Page(make_page(found))

    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert page.find("html") == [{"lang": "en"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.find("caption")) == len(page.find("table")) > 0
    assert {attrs["scope"] for attrs in page.find("th")} == {"col", "row"}


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_words_stand_out_from_what_is_behind_them(scheme):
    css = (HERE / "page.css").read_text("utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[0]))
    changed = blocks[("light", "dark", "print").index(scheme)]
    colors |= dict(re.findall(r"--([\w-]+): (#\w{6})", changed))

    for ground in ("paper", "panel"):
        for ink in ("ink", "muted", "planted", "nothing", "suspicious"):
            assert measure_contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)
    assert measure_contrast(colors["on-mark"], colors["mark"]) >= 4.5


def measure_contrast(one, other):
    """The contrast of two colors as WCAG defines it."""

    def light(color):
        parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_same_input_gives_the_same_bytes_and_no_path_of_this_machine(found, write):
    again = write(make_rows(), make_trusted())

    assert make_page(found) == make_page(again)
    assert str(again.examined.opened.path.parent) not in make_page(again)


def test_labels_are_doubted_only_beyond_chance_and_beyond_other_rows(found):
    doubted = "The labels look wrong"
    for changes, told in (
        ({"contradicted": 55, "p_contradiction": 1e-9}, True),
        ({"contradicted": 55, "p_contradiction": 0.3}, False),
        ({"contradicted": 1, "p_contradiction": 1e-9}, False),
    ):
        assert (doubted in make_page(with_finding(found, **changes))) == told, changes


def test_look_alikes_show_their_code_points(found):
    example = Example(4, "a \u0441ool\u200b film", ((2, 7),), "positive", "negative")
    lookalike = with_finding(found, text="\u0441ool\u200b", examples=(example,))

    html = make_page(lookalike)

    assert "(U+0441 ool U+200B)" in html
    assert "a <mark>\u0441ool\\u200b</mark> film" in html


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.05, "about 1 of 20 files"),
        (0.0074, "about 1 of 100 files"),
        (5e-6, "about 1 of 200,000 files"),
        (0.0, "fewer than one in a billion files"),
    ],
)
def test_a_chance_is_said_as_a_number_of_files(share, said):
    assert say_chance(share) == said
