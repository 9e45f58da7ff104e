"""One audit from a job to its sentences and files: for the command line and from Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from btu.audit.columns import Association, find_associations
from btu.audit.examine import Examined, Suspicion, examine
from btu.audit.opened import open_files
from btu.audit.written import REPORT, ROWS, find_planted, write_clean, write_report, write_rows
from btu.data.local import LocalDataset
from btu.defenses.selfset import SelfSet
from btu.defenses.verdict import describe, find_least_rows
from btu.errors import ConfigError
from btu.job import Job
from btu.report.planted import say_finding, spell
from btu.report.verdicts import Verdict, read_verdict

MOST_SUSPICIOUS = 5  # that are told; report.json has all
MOST_PLANTED = 10


@dataclass(frozen=True)
class Audited:
    """What an audit found, with all that it says and writes."""

    examined: Examined

    @cached_property
    def evidence(self) -> Mapping[str, Any]:
        """The verdict with its evidence, as JSON."""
        return describe(self.examined.case, self.examined.verdict)

    @cached_property
    def sentences(self) -> list[str]:
        """What was planted, a sentence for each finding; or that nothing was found."""
        told = read_verdict("audit", self.evidence)
        assert isinstance(told, Verdict)  # it was written a moment ago
        if not told.findings:
            return [self._say_nothing()]
        said = [_capitalize(say_finding(one, told)) for one in told.findings[:MOST_PLANTED]]
        more = len(told.findings) - MOST_PLANTED
        return [*said, *([f"And {more} more, in {REPORT}."] if more > 0 else [])]

    @cached_property
    def notes(self) -> list[str]:
        """What to mind."""
        shifted = []
        if self.examined.case.shift.differs:
            shifted = [
                "the file and the trusted rows differ in general, in the words of every label: "
                "another source or way of typing. Only what goes beyond that counts as planted"
            ]
        return [*self.examined.opened.notes, *shifted, *self.evidence["notes"]]

    @cached_property
    def columns(self) -> list[Association]:
        """The columns of the file that tell where the rows found come from."""
        opened, case = self.examined.opened, self.examined.case
        found = np.zeros(opened.num_rows, dtype=np.bool_)
        found[find_planted(self.examined)] = True
        return find_associations(opened.columns, found, case.search.q)

    @property
    def lines(self) -> Iterator[str]:
        """What the terminal says."""
        yield from self.sentences
        yield from (f"  {each.describe()}" for each in self.columns)
        unproven = self.examined.unproven
        for one in unproven[:MOST_SUSPICIOUS]:
            yield self._say_suspicion(one)
        if (more := len(unproven) - MOST_SUSPICIOUS) > 0:
            yield f"and {more} more that are suspicious, in {REPORT}"
        yield from (f"note: {note}" for note in self.notes)

    def write(self, folder: Path) -> Path:
        """Write rows.csv, clean.* and report.json into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(self.examined, folder / ROWS)
        write_clean(self.examined, folder)
        path = folder / REPORT
        write_report(self.examined, self.evidence, self.sentences, self.notes, self.columns, path)
        return folder

    def _say_nothing(self) -> str:
        """That nothing was found, and how many rows of a word would have been."""
        case, verdict = self.examined.case, self.examined.verdict
        said = (
            f"Nothing found beyond chance, in {verdict.num_tests:,} tests of words and phrases and "
            f"in {len(case.untrusted):,} rows"
        )
        least = find_least_rows(case, verdict.share * case.search.q)
        least = least[least <= np.bincount(case.untrusted.labels, minlength=len(least))]
        if not len(least):
            return f"{said}; the trusted rows are too few to find any one word"
        rows = int(least.max())
        return (
            f"{said}; a word that the model obeys and no trusted row holds would have been found "
            f"from {rows:,} rows on ({100 * rows / len(case.untrusted):.2g} %)"
        )

    def _say_suspicion(self, one: Suspicion) -> str:
        finding, name = one.finding, self.examined.opened.label_names[one.finding.label]
        turned = ""
        if (effect := finding.effect) is not None:
            turned = f"in the trained model it turns {effect.victim} of {effect.num_texts} trusted "
            turned += f"texts, in one of trusted rows {effect.reference}; "
        needed = "no number of trusted rows would settle it"
        if one.needed is not None:
            needed = f"{one.needed:,} trusted rows would settle it"
        return (
            f"Suspicious, not proven: {spell(' '.join(finding.words), quoted=True)} may make texts "
            f"{name} ({finding.rows:,} rows, {finding.trusted:,} of the trusted rows of that "
            f"label; {turned}{needed})"
        )


def audit_job(job: Job, fast: bool) -> Audited:
    """Audit the training file of a job by its tuning file.

    Raises:
        ConfigError: the job is of another kind of data set or another defense.
        DataError: a file is not as it has to be.
    """
    if not isinstance(job.dataset, LocalDataset) or not isinstance(job.defenses[-1], SelfSet):
        raise ConfigError(
            "an audit needs dataset=local and defense=selfset. Leave both as they are."
        )
    return Audited(examine(open_files(job.dataset), job, fast))


def _capitalize(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
