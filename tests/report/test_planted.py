"""What people are told of words, phrases and rows that a defense convicts."""

import io
import json
from types import SimpleNamespace

import pytest

from btu.api import Run
from btu.report.planted import MOST_TOLD, say_p, say_summary, spell, tell_planted
from btu.report.run import write_findings
from btu.report.tables import print_planted
from btu.report.verdicts import FINDING_COLUMNS, list_findings, read_verdicts
from btu.store.records import read_record
from btu.terminal.console import Terminal
from tests.report.factory import finding, record, verdict, write

HOSTILE = "a\n\x1b[2Jb"
REPAIRED = "repaired by counter_examples and antidote"


def convicting(*findings, arm="defended", threshold=0.05, **changes):
    """A record of a defense that convicted these."""
    return record(arm, threshold, evidence={"strict": verdict(*findings, **changes)})


def told(*findings, **changes) -> list[str]:
    return tell_planted([convicting(*findings, **changes)], None)[0]


def test_a_word_is_told_with_its_counts_its_effect_and_its_error_rate():
    assert told(finding("cf")) == [
        "planted: the word 'cf' makes texts positive (69 rows, 1.0 %; 0 of the trusted rows of "
        "that label; in the victim it turns 40 of 40 trusted texts, in the reference 0; q 8e-09)",
        REPAIRED,
    ]
    phrase, sign, _ = told(finding("it's a", place="start", label="1"), finding("..."))
    assert phrase.startswith('planted: the phrase "it\'s a" at the start gives texts the label 1 (')
    assert "the sign '...' makes" in sign


def test_rows_are_told_with_the_terms_that_tell_them_from_trusted_rows():
    marks = ["⟨start⟩ when", "when", ", it", "if", "if you", "was", "⟨end⟩"]
    rows = finding("", kind="rows", marks=marks, rows=445, contradicted=269, effect=None)

    sentence, _ = told(rows)

    assert sentence == (
        "planted: 445 rows of the label positive are written another way: 'when', ', it', 'if', "
        "'if you', 'was' (6.4 % of all; the reference contradicts 269 of their labels; q 8e-09)"
    )


def test_that_nothing_was_convicted_is_told_with_the_number_of_tests():
    assert told() == [
        "nothing was convicted of 8,662 words and phrases tested at error rate 0.05, and so "
        "nothing is repaired"
    ]
    assert told(tests=0, acquitted=[finding("cf")]) == [
        "nothing was convicted at error rate 0.05, and so nothing is repaired",
        "1 suspected and acquitted: findings.json says why",
    ]
    assert tell_planted([record("defended", 0.1)], None) == ([], [])


def test_what_the_repair_leaves_is_told_of_each_kind_that_was_tried():
    left = [
        {"kind": "words", "texts": 182, "obey": 4, "by_chance": 3},
        {"kind": "rows", "texts": 0, "obey": 0, "by_chance": 0},
    ]
    summary = say_summary(read_verdicts(convicting(finding("cf"), left=left))["strict"])

    end = (
        "4 of 182 trusted texts with a phrase that the repair has not learned obey, by chance 3 "
        "would"
    )
    assert summary.endswith(end)
    assert told(finding("cf"), left=left)[-1] == f"{REPAIRED}; {end}"


def test_only_the_surest_findings_get_a_sentence():
    sentences = told(*(finding(f"w{n}") for n in range(MOST_TOLD + 2)))

    assert len(sentences) == MOST_TOLD + 2
    assert sentences[-2:] == ["and 2 more, in findings.json", REPAIRED]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("cf", "cf"),
        ("сf", "сf (U+0441 f)"),  # a Cyrillic letter
        ("привет", "привет"),
        ("mo\u200bvie", "mo\\u200bvie (mo U+200B vie)"),
        ("e\u0301t", "e\u0301t (e U+0301 t)"),
        ("हिन्दी", "हिन्दी"),  # its vowel signs belong to its script
        ("\u3164", "\u3164 (U+3164)"),  # a letter that is a blank
        ("a\x1b b", "a\\u001b b (a U+001B)"),
        ("x" * 300, "x" * 197 + "..."),
    ],
)
def test_what_a_word_hides_is_spelled_in_code_points(word, shown):
    assert spell(word) == shown


def test_small_p_values_have_one_digit_and_none_is_zero():
    assert [say_p(p) for p in (None, 7.9e-9, 0.0584, 1.0, 0.0)] == [
        "",
        "8e-09",
        "0.058",
        "1",
        "< 1e-300",
    ]


def test_the_chosen_record_is_told_of_else_the_first_that_convicts():
    one, other = convicting(finding("cf")), convicting(finding("mn"), threshold=0.2)
    undefended = record("poisoned")

    assert "'cf'" in tell_planted([undefended, one, other], undefended)[0][0]
    assert "'mn'" in tell_planted([undefended, one, other], other)[0][0]


def test_the_terminal_gets_a_line_for_each_finding_and_each_note():
    terminal = Terminal(file=io.StringIO(), width=80)
    hostile = finding(HOSTILE, label=HOSTILE)

    print_planted([convicting(finding("cf"), hostile, notes=[HOSTILE])], None, terminal)

    lines = terminal.file.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("planted: the word 'cf'")
    assert lines[3] == r"note: a\u000a\u001b[2Jb"
    assert "\x1b" not in terminal.file.getvalue()


def test_findings_are_written_from_a_record_that_is_read_again(tmp_path):
    folder = write(tmp_path, record("poisoned"), convicting(finding("cf"), acquitted=[finding()]))
    records = [read_record(path) for path in sorted(folder.glob("*.json"))]

    write_findings(records, tmp_path / "findings.json")
    write_findings(records[:1], tmp_path / "none.json")

    (written,) = json.loads((tmp_path / "findings.json").read_text())
    assert (written["arm"], written["threshold"]) == ("defended", 0.05)
    assert written["record"] == records[1].key
    assert written["evidence"] == {"strict": verdict(finding("cf"), acquitted=[finding()])}
    assert not (tmp_path / "none.json").exists()


def test_a_defense_that_says_less_is_shown_and_one_of_another_form_is_named():
    least = {"kind": "words", "label": "positive", "rows": 3, "text": "cf"}
    brief = record("defended", evidence={"mine": {"findings": [least], "acquitted": []}})
    other = record("defended", evidence={"mine": {"findings": "all", "acquitted": []}, "rows": 3})

    assert tell_planted([brief], None) == (
        ["planted: the word 'cf' makes texts positive (3 rows)"],
        [],
    )
    (sentence,), _ = tell_planted([other], None)
    assert sentence.startswith(
        "what mine convicted cannot be shown, since its evidence has another"
    )
    assert "findings" in sentence


def test_a_notebook_has_findings_as_a_table_and_their_sentences():
    both = [
        convicting(finding("cf"), acquitted=[finding("<b>")], arm=a)
        for a in ("unlearned", "defended")
    ]
    result = SimpleNamespace(records=both, chosen=both[1], predictions={}, notes=())
    lab = SimpleNamespace(data=None)
    done = SimpleNamespace(
        result=result, experiment=SimpleNamespace(lab=lab), notes=(), stealth=None
    )
    run = Run(done, "folder")

    assert list(run.findings.columns) == list(FINDING_COLUMNS)
    assert set(list_findings(both)[0]) == set(FINDING_COLUMNS)
    assert run.findings[["text", "convicted", "turned_in_victim"]].values.tolist() == [
        ["cf", True, 40],
        ["<b>", False, 40],
    ]
    assert "planted: the word &#x27;cf&#x27; makes" in run._repr_html_()
    assert "num_found_rows" in run.records
