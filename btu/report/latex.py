"""Tables for a paper, in LaTeX: attack by defense, and a long one of every arm.

They fit their page: widths are estimated, on the safe side, from those of Computer Modern.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from btu.metrics import BEST_RULE
from btu.report.best import Marked, best_repairs, blocks, main_rows, studies
from btu.report.formats import slug
from btu.report.grids import percent, threshold_text
from btu.report.groups import Group, Spread
from btu.report.titles import attack_of, controls_of, settings_of, study_of, variant_of
from btu.terminal.text import plain

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "`": r"\textasciigrave{}",
    **{c: f"{{{c}}}" for c in "[]*"},  # after a line break they would be its arguments
    "-": "-{}",  # two of them would become a dash
    **{c: f"\\{c}" for c in "{}$&#%_"},
}
# Accents and letters that every TeX sets without further packages.
ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c")
LETTERS = frozenset("ßæœøåłıÆŒØÅŁ")
MAX_ASCII, MAX_ACCENTED = 0x7F, 0x17F
HEAD = "% \\usepackage{booktabs}\n"
HEAD_LONG = "% \\usepackage{booktabs,longtable}; longtable wants a page of one column\n"
COLUMN, PAGE = 219, 345  # points: the narrowest column of two (ACL), the text of article
GAP = 3  # points on either side of a column
SIZES = {"footnotesize": 8, "scriptsize": 7}  # points
WIDE, NARROW = frozenset("mwMW@%"), frozenset("iljftr.,:;!'|()[] -")
NAME_WIDTH = 16  # characters of a name on one line
LABEL_WIDTH = 24  # of the first column of the long table
MOST_ATTACKS = 12  # of one table


def escape_latex(text: str) -> str:
    """Text that LaTeX sets unchanged; letters that pdflatex lacks become their code points."""
    return "".join(ESCAPES.get(c, c) for c in "".join(map(_latin, plain(text))))


def _latin(char: str) -> str:
    if char == "±":
        return char
    letter, *accents = list(unicodedata.normalize("NFD", char))
    accented = letter.isascii() and len(accents) == 1 and ACCENTS.issuperset(accents)
    if char.isascii() or char in LETTERS or (accented and ord(char) <= MAX_ACCENTED):
        return char
    return f"[U+{ord(char):04X}]"


@dataclass(frozen=True)
class _Column:
    """One model of the paper's table: its name, and its row of each attack."""

    name: tuple[str, ...]  # its lines
    rows: Mapping[int, Group]  # by the attack's place
    best: frozenset[int] = frozenset()  # attacks of which it is the best defense


def paper_tables(groups: Sequence[Group]) -> str:
    """Attack by defense, CACC and ASR (base rate): a float per dataset and model, or several.

    `table` where a column of a two-column page is wide enough, else `table*`; what is wider than
    a page is continued in a further table.
    """
    floats = [part for name, rows in studies(groups).items() for part in _study(name, rows)]
    return "\n".join([HEAD, *floats])


def _study(name: tuple[str, str], groups: Sequence[Group]) -> Iterator[str]:
    attacks = blocks(groups)
    number = 0
    for start in range(0, len(attacks), MOST_ATTACKS):
        part = attacks[start : start + MOST_ATTACKS]
        for size, environment, columns in _fitted(part, _columns(part)):
            number += 1
            caption = _caption(groups, number)
            label = slug(*name, str(number) if number > 1 else "")
            body = _tabular(part, columns)
            yield _float(environment, size, caption, label, body)


def _columns(attacks: Sequence[Sequence[Group]]) -> list[_Column]:
    rows: dict[str, dict[int, Group]] = {}
    best: dict[str, set[int]] = {}
    for at, block in enumerate(attacks):
        repairs = {variant_of(g): g for g in best_repairs(block)}
        for name, group in {**controls_of(block), **repairs}.items():
            rows.setdefault(name, {})[at] = group
        marked = {id(row.group) for row in main_rows([*repairs.values()]) if row.best}
        for name, group in repairs.items():
            if id(group) in marked and len(repairs) > 1:
                best.setdefault(name, set()).add(at)
    return [
        _Column(tuple(_lines(name, NAME_WIDTH)), of, frozenset(best.get(name, ())))
        for name, of in rows.items()
    ]


def _fitted(
    attacks: Sequence[Sequence[Group]], columns: Sequence[_Column]
) -> Iterator[tuple[str, str, Sequence[_Column]]]:
    """The size, the environment and the columns of each table that the columns need."""
    names = [line for block in attacks for line in _lines(attack_of(block[0]), NAME_WIDTH)]
    first = _width([*names, "Attack"]) + _width(["ASR (base)"]) - 2 * GAP / min(SIZES.values())
    for limit, environment in ((COLUMN, "table"), (PAGE, "table*")):
        for size, points in SIZES.items():
            if (first + sum(map(_column_width, columns))) * points <= limit:
                yield size, environment, columns
                return
    taken: list[_Column] = []
    size, points = list(SIZES.items())[-1]
    for column in columns:
        if taken and (first + sum(map(_column_width, [*taken, column]))) * points > PAGE:
            yield size, "table*", taken
            taken = []
        taken.append(column)
    yield size, "table*", taken


def _column_width(column: _Column) -> float:
    cells = [cell for group in column.rows.values() for cell in (_score(group.cacc), _asr(group))]
    return _width([*column.name, *cells], bold=bool(column.best))


def _width(lines: Sequence[str], bold: bool = False) -> float:
    """The width of the widest line and of its gaps, in ems of the size of the table."""
    widest = max((sum(map(_em, line)) for line in lines), default=0.0)
    return widest * (1.14 if bold else 1.0) + 2 * GAP / min(SIZES.values())


def _em(char: str) -> float:
    """The width of a letter of Computer Modern at 7 points, where it is widest."""
    if char in WIDE or char.isupper() or ord(char) > MAX_ASCII:
        return 1.0
    return 0.4 if char in NARROW else 0.6


def _tabular(attacks: Sequence[Sequence[Group]], columns: Sequence[_Column]) -> str:
    heads = [_stacked(column.name) for column in columns]
    lines = [" & ".join(["Attack", "", *heads]) + r" \\", r"\midrule"]
    for at, block in enumerate(attacks):
        if at:
            lines.append(r"\addlinespace")
        names = _lines(attack_of(block[0]), NAME_WIDTH)
        cells = {
            "CACC": [_score(c.rows[at].cacc) if at in c.rows else "" for c in columns],
            "ASR (base)": [_asr(c.rows[at]) if at in c.rows else "" for c in columns],
        }
        if not any(cells["ASR (base)"]):
            del cells["ASR (base)"]
        bold = [at in c.best for c in columns]
        for row in range(max(len(names), len(cells))):
            what = list(cells)[row] if row < len(cells) else ""
            values = map(_cell, cells.get(what, [""] * len(columns)), bold)
            first = escape_latex(names[row]) if row < len(names) else ""
            lines.append(" & ".join([first, escape_latex(what), *values]) + r" \\")
    spec = "ll" + "r" * len(columns)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _asr(group: Group) -> str:
    base = f" ({100 * group.base_rate.mean:.1f})" if group.base_rate else ""
    return f"{_score(group.asr)}{base}" if group.asr else ""


def _score(spread: Spread | None) -> str:
    return percent(spread).replace(" ", "")


def _cell(text: str, bold: bool) -> str:
    text = escape_latex(text)
    return rf"\textbf{{{text}}}" if bold and text else text


def _lines(text: str, width: int) -> list[str]:
    """The text on lines as wide as so many common letters; names without a blank are cut."""
    parts = ["".join(map(_latin, plain(part))) for part in text.split("\n")]
    for letters in range(width, 0, -1):
        lines = [line for part in parts for line in textwrap.wrap(part, letters)] or [""]
        if max(sum(map(_em, line)) for line in lines) <= width * _em("n"):
            break
    return lines


def _stacked(lines: Sequence[str]) -> str:
    inner = r"\\".join(map(escape_latex, lines))
    return inner if len(lines) == 1 else rf"\shortstack[r]{{{inner}}}"


def _caption(groups: Sequence[Group], number: int) -> str:
    seeds = sorted({len(g.seeds) for g in groups})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    over = (
        f"; mean ± sample standard deviation over {many} seeds" if seeds[-1] > 1 else ", one seed"
    )
    attacked = any(g.asr for g in groups)
    what = "CACC and ASR, in brackets the base rate of the same model," if attacked else "CACC"
    if number > 1:
        return f"{study_of(groups[0])}, continued (part {number})."
    leaky = " LEAKY: splits overlap." if any(g.leaky for g in groups) else ""
    return (
        f"{what} in per cent on {study_of(groups[0])}{over}. Defenses at their best "
        f"threshold, the best defense of an attack in bold. B{BEST_RULE[1:]}.{leaky}"
    )


def _float(environment: str, size: str, caption: str, label: str, body: str) -> str:
    return "\n".join(
        [
            rf"\begin{{{environment}}}[t]",
            rf"\centering\{size}\setlength{{\tabcolsep}}{{{GAP}pt}}",
            body,
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{tab:{label}}}",
            rf"\end{{{environment}}}",
            "",
        ]
    )


def long_tables(groups: Sequence[Group]) -> str:
    """Every arm, defended ones at their best threshold: a `longtable` per dataset and model."""
    return "\n".join([HEAD_LONG, *(_long(name, rows) for name, rows in studies(groups).items())])


LONG_TITLES = ("arm", "threshold", "CACC", "ASR", "base rate", "PACC")


def _long(name: tuple[str, str], groups: Sequence[Group]) -> str:
    seeds = ", ".join(sorted({str(len(g.seeds)) for g in groups}))
    caption = (
        f"{study_of(groups[0])}: every arm, in per cent, defended ones at their best threshold; "
        f"mean ± sample standard deviation ({seeds} seeds). In bold the highest CACC and the best "
        f"row of an attack. B{BEST_RULE[1:]}."
    )
    head = " & ".join(LONG_TITLES) + r" \\ \midrule"
    return "\n".join(
        [
            r"\begingroup\scriptsize\setlength{\tabcolsep}{3pt}",
            r"\begin{longtable}{@{}lrrrrr@{}}",
            rf"\caption{{{escape_latex(caption)}}}\label{{tab:{slug(*name)}-long}}\\",
            rf"\toprule {head} \endfirsthead",
            rf"\toprule {head} \endhead",
            r"\bottomrule \endfoot",
            *(line for block in blocks(groups) for line in _long_block(block)),
            r"\end{longtable}",
            r"\endgroup",
            "",
        ]
    )


def _long_block(block: Sequence[Group]) -> Iterator[str]:
    for line in _lines(", ".join(attack_of(block[0]).split("\n")), 60):
        yield rf"\multicolumn{{6}}{{@{{}}l}}{{\textit{{{escape_latex(line)}}}}} \\*"
    for row in main_rows(block):
        group = row.group
        name = variant_of(group) if group.arm.defended else " ".join(settings_of(group))
        lines = _lines(f"{group.arm.name} {name}", LABEL_WIDTH)
        cells = [escape_latex(threshold_text(group)), *_long_scores(row)]
        yield " & ".join([escape_latex(lines[0]), *cells]) + r" \\"
        yield from (rf"\quad {escape_latex(line)} \\" for line in lines[1:])
    yield r"\addlinespace"


def _long_scores(row: Marked) -> list[str]:
    group = row.group
    scores = ((group.cacc, row.highest_cacc), (group.asr, row.best), (group.base_rate, row.best))
    return [_cell(_score(spread), bold) for spread, bold in (*scores, (group.pacc, False))]
