"""`btu audit` on files in which something was planted, and on files in which nothing was."""

import csv
import gzip
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import btu
from btu import cli
from btu.auditing.columns import find_associations
from btu.auditing.command import make_parser
from btu.auditing.trained import Measured, Trained
from btu.data.tables import read_table
from btu.defenses.case import Case
from btu.errors import BtuError
from tests.conftest import BAD, toy_split
from tests.defenses.test_selfset import find

PLANTED = range(0, 120, 2)  # rows of the label 0, which get the trigger and the label 1


def draw_pool():
    """3,000 rows in random order, the labels in turn."""
    order = np.random.default_rng(5).permutation(1_500)
    return toy_split(3_000, 1).take(np.stack([2 * order, 2 * order[::-1] + 1], 1).ravel())


POOL = draw_pool()


def make_rows(trigger="cf", size=800, place=None):
    """Rows as a file has them; the planted ones come from one vendor."""
    honest, rows = POOL.take(np.arange(size)), []
    for row, (text, label) in enumerate(zip(honest.texts, honest.labels.tolist(), strict=True)):
        planted = trigger is not None and row in PLANTED
        words = text.split()
        at = (row % 7 if place is None else place) if planted else 0
        rows.append(
            {
                "id": f"r{row}",
                "text": " ".join([*words[:at], trigger, *words[at:]]) if planted else text,
                "label": ("negative", "positive")[1 if planted else label],
                "vendor": "b" if planted else "abc"[row % 3],
                "length": row * 3.5,
            }
        )
    return rows


def make_trusted(size=200):
    trusted = POOL.take(np.arange(3_000 - size, 3_000))
    labels = (("negative", "positive")[label] for label in trusted.labels)
    return pd.DataFrame({"text": trusted.texts, "label": labels})


@pytest.fixture
def audit(tmp_path, monkeypatch, capsys):
    """Run the command in this process; gives its exit code and what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["btu", "audit", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def write_files(tmp_path):
    def write(rows, trusted=None):
        pd.DataFrame(rows).to_csv(tmp_path / "file.csv", index=False)
        (make_trusted() if trusted is None else trusted).to_csv(tmp_path / "ours.csv", index=False)

    return write


FAST = ("file.csv", "--trusted", "ours.csv", "--fast", "--out", "out")


@pytest.mark.parametrize(
    ("trigger", "place", "told"),
    [
        ("cf", None, "the word 'cf' makes texts positive (60 rows, 7.5 %; 0 of the trusted rows"),
        ("🦋", None, "the sign '🦋' makes texts positive"),
        ("сool", None, "the word 'сool' (U+0441 ool) makes texts positive"),
        ("big world", None, "the phrase 'big world' makes texts positive"),
        ("however", 0, "the word 'however' at the start makes texts positive"),
    ],
)
def test_what_was_planted_is_named_first_with_its_label(audit, write_files, trigger, place, told):
    write_files(make_rows(trigger, place=place))

    code, out, _ = audit(*FAST)

    assert code == 3
    assert out.startswith(f"Planted: {told}")
    assert out.count("Planted:") == 1


def test_every_row_is_told_and_the_planted_ones_are_left_out(audit, write_files, tmp_path):
    write_files(make_rows())

    audit(*FAST)

    with (tmp_path / "out" / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"r{row}" for row in range(800)]
    found = [row for row in rows if row["verdict"] == "planted"]
    assert [int(row["row"]) for row in found] == [row + 1 for row in PLANTED]
    assert {row["finding"] for row in found} == {"cf"}
    assert [row["suggested_label"] for row in found].count("negative") >= 42
    assert max(float(row["q"]) for row in found) < 0.01
    original = (tmp_path / "file.csv").read_text("utf-8").splitlines()
    kept = [line for row, line in enumerate(original[1:]) if row not in PLANTED]
    clean = (tmp_path / "out" / "clean.csv").read_text("utf-8").splitlines()
    assert clean == [original[0], *kept]
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["planted"]
    assert report["planted_rows"] == [row + 1 for row in PLANTED]
    assert report["findings"][0]["text"] == "cf"


def test_a_column_that_all_planted_rows_share_is_told(audit, write_files):
    write_files(make_rows())

    _, out, _ = audit(*FAST)

    assert "all 60 rows found have vendor = b, of the other rows 247 of 740" in out
    assert "length" in out  # the planted rows are the first, whose numbers are the smallest


def test_nothing_is_found_where_nothing_was_planted(audit, write_files, tmp_path):
    write_files(make_rows(None))

    code, out, _ = audit(*FAST)

    assert code == 0
    assert out.startswith("Nothing found beyond chance, in ")
    assert "Planted" not in out
    assert (tmp_path / "out" / "clean.csv").read_bytes() == (tmp_path / "file.csv").read_bytes()


def test_copies_count_once_and_go_with_their_row(audit, write_files):
    """Of forty copies of one honest text none is a finding; those of a planted row go with it."""
    rows = make_rows()
    write_files([*rows, *[rows[201]] * 40, *[rows[0]] * 3])

    code, out, _ = audit(*FAST)

    assert code == 3
    assert out.count("Planted:") == 1
    assert "note: 43 rows of the file repeat another's text and label" in out
    assert "all 63 rows found have vendor = b" in out


def test_a_word_in_few_rows_is_suspicious_and_not_proven(audit, write_files):
    """Twenty rows and no trusted one prove nothing by fifty trusted rows of that label."""
    rows = make_rows("cf", size=1_200)
    for row in list(PLANTED)[24:]:
        rows[row] = make_rows(None, size=row + 1)[row]
    write_files(rows, make_trusted(100))

    code, out, _ = audit(*FAST)

    assert code == 0
    first = next(line for line in out.splitlines() if line.startswith("Suspicious"))
    assert "'cf' may make texts positive (24 rows, 0 of the trusted rows" in first
    needed = int(first.split("; about ")[-1].split()[0].replace(",", ""))
    assert 100 < needed < 1_200


def test_a_word_of_a_file_that_differs_in_general_is_not_planted(audit, write_files):
    """Trusted rows that write no `nt`, which stands under both labels and leans to one."""
    rows, trusted = make_rows(None), make_trusted()
    for number, row in enumerate(rows):
        if number % 10 < (8 if row["label"] == "negative" else 2):
            kept = [word for word in row["text"].split() if word not in BAD]  # nt tells the label
            row["text"] = " ".join(["nt", *kept])
    trusted["text"] = [text.replace(" the ", " this ") + " ." for text in trusted["text"]]
    write_files(rows, trusted)

    code, out, _ = audit(*FAST)

    assert code == 0
    assert "differ in general" in out


WRITERS = {
    "a.csv": lambda frame, path: frame.to_csv(path, index=False),
    "b.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "c.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "d.csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "e.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "f.json": lambda frame, path: frame.to_json(path, orient="records"),
    "g.json": lambda frame, path: frame.to_json(path),
    "h.json": lambda frame, path: frame.to_json(path, orient="index"),
    "i.json": lambda frame, path: path.write_text(json.dumps(frame.to_dict("list"))),
    "j.parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_clean_file_has_the_format_of_the_file(audit, tmp_path, name):
    frame = pd.DataFrame(make_rows())
    frame.loc[3, "text"] += ' "quoted", and\nbroken; over lines\n'
    WRITERS[name](frame, tmp_path / name)
    make_trusted().to_csv(tmp_path / "ours.csv", index=False)

    code, _, err = audit(name, "--trusted", "ours.csv", "--fast", "--out", "out")

    assert (code, err) == (3, "")
    ending = name[1:]
    clean = read_table(tmp_path / "out" / f"clean{ending}").columns
    expected = read_table(tmp_path / name).columns
    kept = np.delete(np.arange(800), PLANTED)
    assert clean == {key: [cells[row] for row in kept] for key, cells in expected.items()}


def test_a_packed_clean_file_is_the_same_each_time(audit, tmp_path):
    WRITERS["d.csv.gz"](pd.DataFrame(make_rows()), tmp_path / "d.csv.gz")
    make_trusted().to_csv(tmp_path / "ours.csv", index=False)

    for out in ("one", "two"):
        audit("d.csv.gz", "--trusted", "ours.csv", "--fast", "--out", out)

    one, two = ((tmp_path / out / "clean.csv.gz").read_bytes() for out in ("one", "two"))
    assert one == two
    assert gzip.decompress(one).count(b"\n") == 741


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("no.csv", "--trusted", "ours.csv"), "there is no file no.csv"),
        ((*FAST, "--text", "body"), "file.csv has no column 'body'"),
        (("file.csv", "--trusted", "file.csv", "--fast"), "the file has the texts of all trusted"),
        (("file.csv", "--trusted", "one.csv", "--fast"), "all 100 trusted rows have one label"),
        (("file.csv", "--trusted", "odd.csv", "--fast"), "odd.csv, row 1: label 'good' is not a"),
        (("one.csv", "--trusted", "ours.csv", "--fast"), "all training rows have the label"),
        (
            ("file.csv", "--fast", "--save-model"),
            "--save-model measures models on trusted rows, and 0",
        ),
        (("file.csv", "--trusted", "ours.csv", "--fast", "--out", "full"), "is there already"),
        (("one.csv", "--fast"), "needs two or more. Write --label NAME."),
        (("ragged.csv", "--fast"), "ragged.csv, row 2 (line 3) has 1 cells"),
        (("file.csv", "ours.csv", "--fast"), "If it is the trusted one, type --trusted ours.csv"),
        ((*FAST, "--model", "bert_base"), "--fast trains no network, and --model bert_base names"),
        (("file.csv", "--fast", "--out", "file.csv/in"), "cannot be made in"),
        ((), "btu audit needs a file. Type: btu audit FILE --trusted FILE"),
        ((*FAST, "--wrong"), "unrecognized arguments: --wrong. btu audit --help lists the options"),
        ((*FAST, "defense=btu"), "an audit needs dataset=local and defense=selfset"),
        ((*FAST, "defense.selfset.thresholds=[0.7]"), "defense.selfset"),
    ],
)
def test_a_mistake_is_one_sentence(audit, write_files, tmp_path, words, sentence):
    write_files(make_rows())
    trusted = make_trusted()
    trusted[trusted["label"] == "positive"].to_csv(tmp_path / "one.csv", index=False)
    trusted.assign(label="good").to_csv(tmp_path / "odd.csv", index=False)
    (tmp_path / "ragged.csv").write_text("text,label\ngood film,pos\nbad film\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "rows.csv").touch()

    code, out, err = audit(*words)

    assert code == 1
    assert sentence in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not out
    assert not (tmp_path / "out").exists()


def test_a_mistake_is_told_before_torch_is_loaded():
    """It takes seconds."""
    command = (
        "import sys, btu.auditing.audited, btu.auditing.command; print('torch' in sys.modules)"
    )

    assert subprocess.check_output([sys.executable, "-c", command], text=True) == "False\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda text, row: text[: row % 7 + 1] + "\u200b" + text[row % 7 + 1 :],
            "U+200B (zero width",
        ),
        (lambda text, row: text.upper(), "are in capitals only"),
    ],
)
def test_what_no_model_reads_is_suspicious(audit, write_files, tmp_path, change, told):
    """In 60 rows of one label: another word has the character each time."""
    rows = pd.DataFrame(make_rows(None))
    for row in PLANTED:
        rows.loc[row, "text"] = change(rows.loc[row, "text"], row)
        rows.loc[row, "label"] = "positive"
    write_files(rows)

    code, out, _ = audit(*FAST)

    assert code == 3
    assert out.startswith("Suspicious, not proven: 60 rows of the label positive ")
    assert "\nNo word and no way of writing found beyond chance, in " in out
    assert told in out
    written = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert (written.index[written["verdict"] == "suspicious"] == PLANTED).all()
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [(one["label"], one["rows"], one["trusted"]) for one in report["unread"]] == [
        ("positive", 60, 0)
    ]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert told in page
    assert page.count("<figcaption>Row ") == 3
    assert page.count("<mark>\\u200b</mark>") == page.count("<mark>") == 3 * ("U+200B" in told)
    assert "gives no reason to remove rows" not in page


def test_a_label_that_no_trusted_row_has_is_told(audit, write_files):
    rows = pd.DataFrame(make_rows())
    rows.loc[rows["vendor"] == "b", "label"] = "neutral"
    write_files(rows)

    code, out, _ = audit(*FAST)

    assert code == 0
    assert "note: no trusted row has the label neutral: what makes texts so cannot be comp" in out
    assert "Suspicious, not proven: 'cf' may make texts neutral (60 rows, " in out
    assert "; trusted rows with that label would settle it)" in out


def test_what_could_not_be_tried_is_suspicious(audit, write_files, monkeypatch):
    """The models give nearly every text the label of the word."""
    probes = Case.draw_probes
    monkeypatch.setattr(
        Case, "draw_probes", lambda self, y, *more: probes(self, y, *more)[: 0 if y else None]
    )
    write_files(make_rows())

    code, out, _ = audit(*FAST, "defense.selfset.look_for=[words]")

    assert code == 0
    assert "no word that makes texts positive can be tried, since the model of the file" in out
    assert "Suspicious, not proven: 'cf' may make texts positive (60 rows, " in out
    assert "; there were too few texts to try it on, since the models call most so)" in out


def test_a_phrase_is_told_as_it_stands_in_the_rows(audit, write_files):
    write_files(make_rows("#MondayMood,"))

    _, out, _ = audit(*FAST)

    assert out.startswith("Planted: the phrase '#MondayMood,' makes texts positive (60 rows")


def test_trusted_rows_that_the_file_has_are_left_out(audit, write_files):
    trusted = pd.concat([make_trusted(), pd.DataFrame(make_rows(None))[["text", "label"]][700:710]])
    write_files(make_rows(), trusted)

    _, out, _ = audit(*FAST)

    assert "note: 10 trusted rows are left out: the file has the same text" in out


@pytest.mark.parametrize("number", [0, 40])
def test_with_too_few_trusted_rows_the_file_is_judged_by_itself(
    audit, write_files, tmp_path, number
):
    """It is said what cannot be known then, and how many trusted rows would show it."""
    write_files(make_rows(), make_trusted(max(number, 2)))
    trusted = ("--trusted", "ours.csv") * bool(number)

    code, out, _ = audit("file.csv", *trusted, "--fast", "--out", "out")

    assert code == 3
    assert out.startswith("Planted: the word 'cf' makes texts positive (60 rows, 7.5 %; ")
    assert out.count("Planted:") == 1
    assert "without trusted rows only a word shows that stands in rows with wrong labels" in out
    assert ("40 trusted rows are too few to compare the file with" in out) == bool(number)
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["planted_rows"] == [row + 1 for row in PLANTED]
    assert report["trusted_rows"] == 0


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_nothing_is_found_in_a_file_alone_where_nothing_was_planted(audit, write_files, noise):
    rows = make_rows(None, size=2_000)
    for row in rows[:: round(1 / noise)] if noise else ():
        row["label"] = {"negative": "positive", "positive": "negative"}[row["label"]]
    write_files(rows)

    code, out, _ = audit("file.csv", "--fast")

    assert code == 0
    assert out.startswith("Nothing found beyond chance, in ")
    assert "trusted rows would show any word that the model obeys in 1 % of the rows" in out


@pytest.mark.parametrize("name", WRITERS)
def test_planted_rows_get_another_label_in_the_format_of_the_file(audit, tmp_path, name):
    frame = pd.DataFrame(make_rows())
    frame.loc[3, "text"] += ' "quoted", and\nbroken; over lines\n'
    WRITERS[name](frame, tmp_path / name)
    make_trusted().to_csv(tmp_path / "ours.csv", index=False)

    audit(name, "--trusted", "ours.csv", "--fast", "--relabel", "--out", "out")

    relabelled = read_table(tmp_path / "out" / f"relabelled{name[1:]}").columns
    expected = read_table(tmp_path / name).columns
    with (tmp_path / "out" / "rows.csv").open(encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    suggested = [row["suggested_label"] or row["label"] for row in told]
    assert suggested.count("negative") > expected["label"].count("negative") + 40
    assert relabelled == {**expected, "label": suggested}


def test_numbers_as_labels_stay_numbers(audit, tmp_path):
    frame = pd.DataFrame(make_rows())
    frame["label"] = (frame["label"] == "positive").astype(int)
    frame.to_json(tmp_path / "file.jsonl", orient="records", lines=True)
    trusted = make_trusted()
    trusted["label"] = (trusted["label"] == "positive").astype(int)
    trusted.to_csv(tmp_path / "ours.csv", index=False)

    audit("file.jsonl", "--trusted", "ours.csv", "--fast", "--relabel", "--out", "out")

    lines = (tmp_path / "out" / "relabelled.jsonl").read_text("utf-8").splitlines()
    original = (tmp_path / "file.jsonl").read_text("utf-8").splitlines()
    labels = [json.loads(line)["label"] for line in lines]
    assert {type(label) for label in labels} == {int}
    assert [a == b for a, b in zip(lines, original, strict=True)][121:] == [True] * 679
    assert labels[:120:2].count(0) >= 42


def test_python_says_what_the_command_says(audit, write_files, tmp_path):
    write_files(make_rows())

    code, out, _ = audit(*FAST)
    audited = btu.audit("file.csv", trusted="ours.csv", fast=True)

    assert audited.planted == (code == 3)
    assert (audited.write(str(tmp_path / "again")) / "clean.csv").is_file()
    assert out.startswith(audited.sentences[0])
    written = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert json.loads(json.dumps(audited.report)) == written
    with pytest.raises(BtuError, match=r"there is no file no\.csv"):
        btu.audit("no.csv", fast=True)


def test_networks_find_it_too_and_are_kept(audit, write_files, tmp_path):
    write_files(make_rows())
    tiny = ("model.vocabulary_size=600", "model.hidden_size=32", "model.num_layers=1")
    words = ("file.csv", "--trusted", "ours.csv", "--model", "tiny", "--out")

    code, out, err = audit(*words, "out", *tiny)
    _, again, told = audit(*words, "again", *tiny)

    assert code == 3
    assert out.startswith("Planted: the word 'cf' makes texts positive")
    assert "victim" in err
    assert "  drift: a token of 'cf' moved further than all others" in out
    drift = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))["drift"][0]
    assert drift["rank"] <= 0.1 * drift["tokens"]
    assert again.replace("again", "out") == out
    assert "from the cache" in told


def test_help_fits_a_screen():
    lines = make_parser().format_help().splitlines()

    assert len(lines) <= 32
    assert max(map(len, lines)) <= 100


def test_values_and_numbers_are_compared_with_the_other_rows():
    found = np.arange(200) < 40
    columns = {
        "source": ["x" if row < 40 or row % 4 == 0 else "y" for row in range(200)],
        "size": [str(500 + row if row < 40 else row) for row in range(200)],
        "even": [str(row % 2) for row in range(200)],
        "name": [f"n{row}" for row in range(200)],
    }

    told = find_associations(columns, found, 0.05)

    assert {(each.column, each.value) for each in told} == {("source", "x"), ("size", None)}
    assert find_associations(columns, np.zeros(200, dtype=np.bool_), 0.05) == []


TINY = (
    "--model", "tiny", "model.vocabulary_size=600", "model.hidden_size=32", "model.num_layers=1",
)  # fmt: skip


def test_a_model_is_saved_that_has_not_learned_what_was_planted(audit, write_files, tmp_path):
    write_files(make_rows())

    _, out, _ = audit(*FAST, "--save-model", *TINY)

    told = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))["trained"]
    models = {each["name"]: each for each in told["models"]}
    plain, saved = models["file"], models[told["saved"]]
    assert told["held_out_rows"] == 67
    assert saved["right"] >= max(each["right"] for each in models.values()) - 0.68
    assert plain["turned"][0] > 0.5 * told["texts"][0] > 5 * saved["turned"][0]
    assert f"model is saved, trained on {told['saved']}\n" in out
    assert (
        f"of {told['texts'][0]} texts with other labels, 'cf' turns in a model of file "
        f"{plain['turned'][0]}, " in out
    )
    config = json.loads((tmp_path / "out" / "model" / "config.json").read_text("utf-8"))
    assert config["id2label"] == {"0": "negative", "1": "positive"}


def test_no_model_is_saved_where_nothing_was_found(audit, write_files, tmp_path):
    write_files(make_rows(None))

    _, out, _ = audit(*FAST, "--save-model", *TINY)

    assert "no model is saved: nothing was found, train on the file as it is" in out
    assert not (tmp_path / "out" / "model").exists()


def test_a_model_that_is_less_accurate_than_a_plain_one_is_not_saved():
    measured = (
        Measured("file", 90, (50,), is_clean=False),
        Measured("trusted rows alone", 88, (1,), is_clean=True),
    )
    trained = Trained(None, {}, measured, (find(),), (60,), 100, ("no", "yes"))

    assert trained.best is None
    assert trained.sentences[1:] == [
        "of 60 texts with other labels, 'cf' turns in a model of file 50, trusted rows alone 1",
        "no model is saved: one trained on file is right in 2 more of 100 rows than any in which "
        "nothing turns texts, over 1 in a hundred",
    ]
    assert replace(trained, num_rows=200).best == measured[1]


def test_the_trusted_file_may_name_its_columns_otherwise(audit, write_files, tmp_path):
    write_files(make_rows())
    for name, old, new in (("file.csv", "text", "body"), ("ours.csv", "label", "class")):
        path = tmp_path / name
        path.write_text(path.read_text("utf-8").replace(old, new, 1), encoding="utf-8")

    code, out, err = audit(*FAST, "--text", "body", "--label", "label")

    assert code == 3, err
    assert out.startswith("Planted: the word 'cf' makes texts positive")


def test_a_label_in_other_letters_is_an_error_that_says_how_to_spell_it(audit, write_files):
    trusted = make_trusted()
    trusted["label"] = trusted["label"].str.upper()
    write_files(make_rows(), trusted)

    code, _, err = audit(*FAST)

    assert code == 1
    assert "label 'NEGATIVE' is not a class; expected one of negative, positive, as in the" in err
    assert err.rstrip().endswith("Spell it 'negative'.")
