"""What an audit says of what it found: the same for the terminal, the page and Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.auditing.columns import Association, find_associations
from btu.auditing.examined import FILE_MODEL, TRUSTED_MODEL, Examined, Suspicion
from btu.auditing.written import REPORT, find_planted, make_report
from btu.defenses.phrases import FEW
from btu.defenses.verdict import REFERENCE_KNOWS_NOTHING
from btu.evidence import ROWS, WORDS
from btu.report.planted import say_finding, spell
from btu.report.verdicts import Verdict, read_verdict
from btu.terminal.text import plain

if TYPE_CHECKING:
    from btu.auditing.trained import Trained

MOST_SUSPICIOUS = 5  # that are told; report.json has all
MOST_PLANTED = 10
MANY_WORDS = 3  # of one label, that a note says may be one way of writing
LEAST_RIGHT = 0.7  # accuracy of the model of the trusted rows, below which a note says so
OTHER_MODEL = "a model without these rows"


@dataclass(frozen=True, repr=False)
class Told:
    """What an audit found, with all that it says."""

    examined: Examined
    trained: Trained | None = None  # None where no model was asked for

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    @cached_property
    def verdict(self) -> Verdict:
        """What was convicted and acquitted, as reports have it."""
        told = read_verdict("audit", self.examined.evidence)
        assert isinstance(told, Verdict)  # it was written a moment ago
        return told

    @property
    def planted(self) -> bool:
        """Whether anything was found."""
        return bool(self.examined.convicted)

    @cached_property
    def sentences(self) -> list[str]:
        """What was planted, a sentence for each finding; or that nothing was found."""
        told = self.verdict
        if not told.findings:
            return [*self._suspected_looks, self._say_nothing()]
        models = FILE_MODEL, TRUSTED_MODEL if self.examined.opened.has_trusted else OTHER_MODEL
        shown = told.findings[:MOST_PLANTED]
        said = [_capitalize(say_finding(one, told, models)) for one in shown]
        more = len(told.findings) - MOST_PLANTED
        return [*said, *([f"And {more} more, in {REPORT}."] if more > 0 else [])]

    @cached_property
    def suspicions(self) -> list[str]:
        """What is suspicious and not proven, a sentence each: what is no word, then the words."""
        looks = self._suspected_looks if self.planted else []  # else they are the verdict
        return [*looks, *self._suspected_words]

    @cached_property
    def _suspected_looks(self) -> list[str]:
        names = self.examined.opened.label_names
        unread = (one.say(plain(names[one.label])) for one in self.examined.unread)
        return [f"Suspicious, not proven: {said}" for said in unread]

    @cached_property
    def _suspected_words(self) -> list[str]:
        return [self._say_suspicion(one) for one in self.examined.unproven]

    @cached_property
    def notes(self) -> list[str]:
        """What to mind."""
        said = [*self.examined.opened.notes]
        if (shift := self.examined.shift) is not None and shift.differs:
            said.append(
                "the file and the trusted rows differ in general, in the words of every label: "
                "another source or way of typing. Only what goes beyond that counts as planted"
            )
        if self.planted or self.examined.unread or not self.examined.opened.has_trusted:
            said += self.examined.limits
        if any(one.kind == ROWS for one in self.verdict.findings):
            said.append(
                "which rows are written another way is an estimate: a tenth of them, in trials up "
                "to a third, were honest"
            )
        said += [*self._remark_on_words(), *self._remark_on_reference()]
        return [*said, *self.examined.evidence["notes"]]

    def _remark_on_words(self) -> Iterator[str]:
        """That many words of one label may be one way of writing."""
        labels = Counter(one.label for one in self.verdict.findings if one.kind == WORDS)
        for label, number in labels.items():
            if number >= MANY_WORDS:
                yield (
                    f"{number} words and phrases were found for the label {plain(label)}: one way "
                    "of writing may be behind them and not as many triggers; look at their rows"
                )

    def _remark_on_reference(self) -> Iterator[str]:
        """That the model of the trusted rows is often wrong, if so."""
        right = float(self.examined.evidence["reference_accuracy"])
        known = any(REFERENCE_KNOWS_NOTHING in note for note in self.examined.evidence["notes"])
        if self.examined.opened.has_trusted and right < LEAST_RIGHT and not known:
            yield (
                f"a model of the trusted rows gives only {100 * right:.0f} % of others their "
                "label, and so it tells little about labels; more trusted rows would sharpen the "
                "audit"
            )

    @cached_property
    def columns(self) -> list[Association]:
        """The columns of the file that tell where the rows found come from."""
        opened = self.examined.opened
        found = np.zeros(opened.num_rows, dtype=np.bool_)
        found[find_planted(self.examined)] = True
        return find_associations(opened.columns, found, self.examined.search.q)

    @property
    def lines(self) -> Iterator[str]:
        """What the terminal says."""
        yield from self.sentences
        yield from (f"  {each.describe()}" for each in self.examined.drift)
        yield from (f"  {each.describe()}" for each in self.columns)
        yield from self.suspicions[:MOST_SUSPICIOUS]
        if (more := len(self.suspicions) - MOST_SUSPICIOUS) > 0:
            yield f"and {more} more that are suspicious, in {REPORT}"
        yield from self.trained.sentences if self.trained else ()
        yield from (f"note: {note}" for note in self.notes)

    @cached_property
    def report(self) -> dict[str, Any]:
        """All of it as JSON."""
        told = make_report(
            self.examined, self.sentences, self._suspected_words, self.notes, self.columns
        )
        trained = self.trained.describe() if self.trained else None
        return told | {"trained": trained}

    def _say_nothing(self) -> str:
        """That nothing was found, and what would have been."""
        examined = self.examined
        number = examined.verdict.num_tests
        tests = "test of words and phrases" if number == 1 else "tests of words and phrases"
        what = "No word and no way of writing" if examined.unread else "Nothing"
        said = f"{what} found beyond chance, in {number:,} {tests} and "
        said += f"in {len(examined.suggested):,} rows"
        if suspects := len(examined.unproven):
            said += f" ({suspects} {'is' if suspects == 1 else 'are'} suspicious)"
        if examined.unread or not examined.opened.has_trusted:
            return said  # the limits are notes
        return "; ".join([said, *examined.limits])

    def has_no_trusted_row(self, label: int) -> bool:
        """Whether trusted rows were given, and none of a label."""
        trusted = self.examined.opened.trusted.labels
        return len(trusted) > 0 and not (trusted == label).any()

    def spell_suspect(self, one: Suspicion) -> str:
        """A phrase as most of its rows have it; its words and single blanks where none do."""
        judged, said = self.examined.opened.judged, " ".join(one.finding.words)
        spans = Counter(
            " ".join(text[slice(*marked[0])].split())
            for text in (judged.texts[row] for row in one.rows.tolist())
            if (marked := one.finding.mark(text, fold=True))
        )
        alike = [span for span in spans if "".join(span.lower().split()) == said.replace(" ", "")]
        return max(alike, key=spans.__getitem__) if alike else said

    def _say_suspicion(self, one: Suspicion) -> str:
        finding = one.finding
        name, turned = plain(self.examined.opened.label_names[finding.label]), ""
        if (effect := finding.effect) is not None and effect.num_texts:
            texts, other = "texts of other rows", OTHER_MODEL
            if finding.trusted is not None:
                texts, other = "trusted texts", TRUSTED_MODEL
            turned = f"in {FILE_MODEL} it turns {effect.victim} of {effect.num_texts} {texts}, in "
            turned += f"{other} {effect.reference}; "
        held = f"{finding.contradicted:,} of which other words contradict; "
        if finding.trusted is not None:
            held = f"{finding.trusted:,} of the trusted rows of that label; "
            if 2 * finding.contradicted > finding.rows:
                held += f"{TRUSTED_MODEL} gives {finding.contradicted:,} of them another label; "
        needed = "no number of trusted rows would settle it"
        if self.has_no_trusted_row(finding.label):
            needed = "trusted rows with that label would settle it"
        elif effect is not None and effect.num_texts < FEW:
            needed = "there were too few texts to try it on, since the models call most so"
        elif one.needed is not None:
            needed = f"about {one.needed:,} trusted rows would settle it"
        place = "" if finding.place == "anywhere" else f" at the {finding.place}"
        may = f"may give texts the label {name}" if name.isdigit() else f"may make texts {name}"
        return (
            f"Suspicious, not proven: {spell(self.spell_suspect(one), quoted=True)}{place} {may} "
            f"({finding.rows:,} rows, {held}{turned}{needed})"
        )


def _capitalize(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
