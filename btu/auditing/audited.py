"""One audit from a job to its sentences and files: for the command line and from Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.api import set_up_torch, write_words
from btu.auditing.columns import Association, find_associations
from btu.auditing.examine import examine
from btu.auditing.examined import Examined, Suspicion
from btu.auditing.kept import write_relabelled, write_without
from btu.auditing.opened import open_files
from btu.auditing.page import PAGE, make_page
from btu.auditing.written import (
    REPORT,
    ROWS,
    find_planted,
    make_report,
    suggest_labels,
    write_rows,
)
from btu.config import composed
from btu.data.local import LocalDataset
from btu.defenses.selfset import SelfSet
from btu.errors import ConfigError
from btu.job import Job, build_job
from btu.report.planted import say_finding, spell
from btu.report.verdicts import Verdict, read_verdict
from btu.store.files import write_json
from btu.terminal.sentences import in_one_sentence, is_of_composing
from btu.terminal.text import plain

if TYPE_CHECKING:
    from btu.auditing.trained import Trained

MOST_SUSPICIOUS = 5  # that are told; report.json has all
MOST_PLANTED = 10
LEAST_RIGHT = 0.7  # accuracy of the model of the trusted rows, below which a note says so
FILE_MODEL, TRUSTED_MODEL = "a model of the file", "one of the trusted rows"
OTHER_MODEL = "one without these rows"
BASE = ("dataset=local", "attack=none", "defense=selfset", "tracking=none", "dataset.name=audit")


@dataclass(frozen=True, repr=False)
class Audited:
    """What an audit found, with all that it says and writes."""

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
            return [self._say_nothing()]
        models = FILE_MODEL, TRUSTED_MODEL if self.examined.opened.has_trusted else OTHER_MODEL
        shown = told.findings[:MOST_PLANTED]
        said = [_capitalize(say_finding(one, told, models)) for one in shown]
        more = len(told.findings) - MOST_PLANTED
        return [*said, *([f"And {more} more, in {REPORT}."] if more > 0 else [])]

    @cached_property
    def suspicions(self) -> list[str]:
        """What is suspicious and not proven, a sentence each: what is no word, then the words."""
        names = self.examined.opened.label_names
        unread = (one.say(plain(names[one.label])) for one in self.examined.unread)
        return [*(f"Suspicious, not proven: {said}" for said in unread), *self._suspected_words]

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
        if self.planted or not self.examined.opened.has_trusted:
            said += self.examined.limits
        return [*said, *self._remark_on_reference(), *self.examined.evidence["notes"]]

    def _remark_on_reference(self) -> Iterator[str]:
        """That the model of the trusted rows is often wrong, if so."""
        right = float(self.examined.evidence["reference_accuracy"])
        if self.examined.opened.has_trusted and right < LEAST_RIGHT:
            yield (
                f"a model of the trusted rows is right in {100 * right:.0f} % of them only, and so "
                "it tells little about labels; more trusted rows would sharpen the audit"
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

    def write(self, folder: str | Path, relabel: bool = False) -> Path:
        """Write rows.csv, clean.*, report.json and report.html into a folder, which is made.

        Args:
            folder: where they go; files of these names that are there are replaced.
            relabel: whether to write relabelled.*, too.
        """
        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(self.examined, folder / ROWS)
        planted, opened = find_planted(self.examined), self.examined.opened
        write_without(opened, planted, folder)
        if relabel:
            write_relabelled(opened, suggest_labels(self.examined, planted), folder)
        write_json(folder / REPORT, self.report)
        (folder / PAGE).write_text(make_page(self, relabel), encoding="utf-8")
        if self.trained:
            self.trained.save(folder)
        return folder

    def _say_nothing(self) -> str:
        """That nothing was found, and what would have been."""
        examined = self.examined
        number = examined.verdict.num_tests
        tests = "test of words and phrases" if number == 1 else "tests of words and phrases"
        said = (
            f"Nothing found beyond chance, in {number:,} {tests} and "
            f"in {len(examined.suggested):,} rows"
        )
        return "; ".join([said, *examined.limits]) if examined.opened.has_trusted else said

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
        needed = "no number of trusted rows would settle it"
        if one.needed is not None:
            needed = f"{one.needed:,} trusted rows would settle it"
        place = "" if finding.place == "anywhere" else f" at the {finding.place}"
        may = f"may give texts the label {name}" if name.isdigit() else f"may make texts {name}"
        return (
            f"Suspicious, not proven: {spell(' '.join(finding.words), quoted=True)}{place} {may} "
            f"({finding.rows:,} rows, {held}{turned}{needed})"
        )


def audit(
    file: str | Path,
    *overrides: str,
    trusted: str | Path | None = None,
    text: str | None = None,
    label: str | None = None,
    model: str | None = None,
    fast: bool = False,
    save_model: bool = False,
    **settings: Any,
) -> Audited:
    """What was planted in a file, exactly as `btu audit` finds it; nothing is printed or written.

    Args:
        file: labelled texts: TSV, CSV, JSON or parquet, also with .gz.
        overrides: further words of the command line, such as `"seed=2"`.
        trusted: a file of labelled texts that you trust; None: the file is judged by itself.
        text: the column of the texts; None: guessed by its name.
        label: that of the labels.
        model: the network, such as `"bert_base"`; None: MiniLM.
        fast: whether to train linear models of words and no network.
        save_model: whether to train models without what was found; `.write` saves the best.
        settings: further settings as Python values, as in `btu.run`.

    Returns:
        `.planted`, `.sentences`, `.suspicions`, `.notes` and `.report` (all of it, as in
        report.json); `.write(folder)` writes the files.

    Raises:
        BtuError: a file or a setting is not as it has to be; its text is one sentence.
    """
    set_up_torch()
    chosen = {
        "dataset.train": str(file),
        "dataset.tuning": None if trusted is None else str(trusted),
        "dataset.text_column": text,
        "dataset.label_column": label,
        "model": model,
    }
    given = {key: value for key, value in chosen.items() if value is not None}
    words = [*BASE, *write_words((), given), *write_words(overrides, settings)]
    try:
        with composed(words) as (cfg, _):
            job, _ = build_job(cfg)
            return audit_job(job, fast, save_model)
    except Exception as error:
        if isinstance(error, OSError) or is_of_composing(error):
            raise ConfigError(in_one_sentence(error)) from error
        raise


def audit_job(job: Job, fast: bool, save_model: bool = False) -> Audited:
    """Audit the training file of a job by its tuning file.

    Raises:
        ConfigError: the job is of another kind of data set or another defense.
        DataError: a file is not as it has to be.
    """
    if not isinstance(job.dataset, LocalDataset) or not isinstance(job.defenses[-1], SelfSet):
        raise ConfigError(
            "an audit needs dataset=local and defense=selfset. Leave both as they are."
        )
    opened = open_files(job.dataset)
    if not save_model:
        return Audited(examine(opened, job, fast))
    from btu.auditing.trained import check_trusted, train_models  # loads torch

    check_trusted(len(opened.trusted))
    examined = examine(opened, job, fast)
    return Audited(examined, train_models(examined, job))


def _capitalize(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
