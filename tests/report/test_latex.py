"""Tables that a paper can take: attack by defense, within the page."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from btu.report.groups import group_records
from btu.report.latex import escape_latex, long_tables, paper_tables
from btu.report.study import read_study
from tests.report.factory import chosen, configured, record, small_study, write

TEX = shutil.which("pdflatex") or shutil.which("tectonic")
NASTY = r"50%_a&b #$~^{}\input{x} <|> é Ġ 中 đ"


def grouped(folder, records):
    return group_records(read_study([write(folder, *records)]))


def many_defenses():
    """Nine defenses with long names, and attacks that differ in a setting."""
    for seed in (1, 2):
        for rate in (0.1, 0.2):
            shared = {"seed": seed, "config": configured(attack__poison_rate=rate)}
            attack = f"{NASTY} {rate}"
            undefended = chosen(attack=attack, defense="none")
            yield record("poisoned", cacc=0.9 + seed / 50, choices=undefended, **shared)
            for number in range(9):
                choices = chosen(attack=attack, defense=f"{NASTY}{'w' * 30}{number}")
                yield record("defended", 0.001, 0.8 + seed / 50, choices=choices, **shared)


def test_a_cell_is_cacc_and_asr_with_the_base_rate_by_attack_and_defense(tmp_path):
    tex = paper_tables(grouped(tmp_path, small_study()))

    head, a, a_asr = re.search(r"(Attack.*)\n\\midrule\n(.*)\n(.*)\n", tex).groups()
    assert re.sub(r"\\shortstack\[r\]|[{}]", "", head) == (
        r"Attack &  & undefended & tuned & trusted rows\\only & btu \\"
    )
    assert a.startswith(r"a & CACC & 91.0$\pm$1.4 & 93.0$\pm$1.4 & 71.0$\pm$1.4 & 89.0$\pm$1.4")
    assert a_asr.endswith(r"20.0$\pm$0.0 (10.0) & 11.0$\pm$1.4 (10.0) \\")
    assert r"\toprule" in tex
    assert r"\label{tab:d-m}" in tex
    assert "2 seeds" in tex


def test_the_best_defense_of_an_attack_is_bold_where_there_are_several(tmp_path):
    other = [
        record("defended", 0.001, 0.5, 0.05, choices=chosen(defense="other"), seed=seed)
        for seed in (1, 2)
    ]

    tex = paper_tables(grouped(tmp_path, [*small_study(), *other]))

    assert re.findall(r"\\textbf\{(.*?)\}", tex) == [r"89.0$\pm$1.4", r"11.0$\pm$1.4 (10.0)"]


def test_few_columns_fit_one_column_and_more_take_the_page(tmp_path):
    few = [record("poisoned"), record("defended", 0.001)]

    assert r"\begin{table}" in paper_tables(grouped(tmp_path / "few", few))
    assert r"\begin{table*}" in paper_tables(grouped(tmp_path / "more", small_study()))


def test_columns_beyond_the_page_are_continued_in_a_further_table(tmp_path):
    tex = paper_tables(grouped(tmp_path, renamed(many_defenses())))

    labels = re.findall(r"\\label\{(.*?)\}", tex)
    assert len(labels) > 1
    assert len(labels) == len(set(labels))
    assert "continued (part 2)" in tex


def renamed(records):
    return [replace(r, key=f"k{number}") for number, r in enumerate(records)]


@pytest.mark.skipif(TEX is None, reason="no pdflatex or tectonic on this machine")
@pytest.mark.parametrize("classes", ["", "twocolumn"])
@pytest.mark.parametrize("study", [small_study, many_defenses])
def test_tables_compile_without_an_overfull_line(tmp_path, study, classes):
    groups = grouped(tmp_path / "records", renamed(study()))
    long = "" if classes else long_tables(groups)  # longtable wants one column
    letters = " ".join(map(escape_latex, map(chr, range(0x20, 0x250))))
    body = rf"{paper_tables(groups)}\clearpage{long}\sloppy {letters}"
    (tmp_path / "x.tex").write_text(
        rf"\documentclass[{classes}]{{article}}\usepackage{{booktabs,longtable}}"
        rf"\begin{{document}}{body}\end{{document}}",
        encoding="utf-8",
    )
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in TEX else ["--keep-logs"]

    ran = subprocess.run([TEX, *flags, "x.tex"], cwd=tmp_path, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stdout[-2000:]
    assert "Overfull \\hbox" not in (tmp_path / "x.log").read_text(errors="replace")
