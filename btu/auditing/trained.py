"""A model of a file without what was planted, kept only if it is no worse than the plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.auditing.examine import open_network_lab
from btu.auditing.examined import Examined, choose_epochs
from btu.defenses.populations import insert_marks
from btu.defenses.reference import count_epochs, say
from btu.defenses.repair import join_rows
from btu.errors import ConfigError
from btu.evidence import WORDS
from btu.evidence.findings import Finding
from btu.evidence.significance import measure_effect
from btu.evidence.words import insert_phrase
from btu.report.planted import spell
from btu.seeding import stream
from btu.types import BoolArray, IntArray, Split

if TYPE_CHECKING:
    from btu.job import Job
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.store.stages import Stage

LEAST_TRUSTED = 100  # of which a third is held out
HELD_OUT, MOST_HELD_OUT = 3, 500  # every third trusted row of each label, and no more
TOLERATED = 0.01  # accuracy that a saved model may be below the best of all
MOST_TOLD = 3  # findings whose effects get a sentence
MODEL = "model"  # its folder
PLAIN, TUNED, ALONE = "file", "file, then trusted rows", "trusted rows alone"
TOGETHER, IN_TURN = "rows kept and trusted rows", "these, then trusted rows again"
SAVEABLE = (TOGETHER, IN_TURN, ALONE)  # that have not learned the rows found


@dataclass(frozen=True)
class Measured:
    """What one model does with trusted rows that no model has learned."""

    name: str  # what it was trained on
    right: int  # of the rows held out
    turned: tuple[int, ...]  # by each finding, of those of other labels
    is_clean: bool  # no finding turns more texts in it than in a model of trusted rows alone


@dataclass(frozen=True)
class Trained:
    """The models that were compared, and the one that is saved."""

    lab: Lab
    models: dict[str, Stage[Classifier]]
    measured: tuple[Measured, ...]
    findings: tuple[Finding, ...]
    num_texts: tuple[int, ...]  # that each finding was inserted into
    num_rows: int  # held out
    label_names: tuple[str, ...]

    @cached_property
    def best(self) -> Measured | None:
        """The most accurate that is clean; None where a plain model is better by too much."""
        clean = [each for each in self.measured if each.name in SAVEABLE and each.is_clean]
        if not self.findings:
            clean = []
        best = max(clean, key=lambda each: each.right, default=None)
        if best is None or self._most_right() - best.right > TOLERATED * self.num_rows:
            return None
        return best

    def _most_right(self) -> int:
        return max(each.right for each in self.measured)

    @property
    def sentences(self) -> list[str]:
        """What was measured, and whether a model is saved."""
        rows = f"{self.num_rows:,} trusted rows that no model has learned"
        shares = ", ".join(f"{one.name} {self._share(one.right)}" for one in self.measured)
        said = [f"models trained on different rows, by their accuracy on {rows}: {shares}"]
        if not self.findings:
            return [*said, "no model is saved: nothing was found, train on the file as it is"]
        said += [self._say_effect(number) for number in range(len(self.findings[:MOST_TOLD]))]
        if self.best is not None:
            return [*said, f"{MODEL} is saved, trained on {self.best.name}"]
        better = max(self.measured, key=lambda each: each.right)
        clean = [each.right for each in self.measured if each.name in SAVEABLE and each.is_clean]
        why = "in each of those without the rows found something still turns texts"
        if clean:
            why = (
                f"one trained on {better.name} is right in {better.right - max(clean)} more of "
                f"{self.num_rows} rows than any in which nothing turns texts, over "
                f"{100 * TOLERATED:g} in a hundred"
            )
        return [*said, f"no model is saved: {why}"]

    def _say_effect(self, number: int) -> str:
        """What one finding still does in each model."""
        turned = ", ".join(f"{one.name} {one.turned[number]}" for one in self.measured)
        what, texts = _name(self.findings[number]), self.num_texts[number]
        return f"of {texts} texts with other labels, {what} turns in a model of {turned}"

    def _share(self, right: int) -> str:
        return f"{100 * right / self.num_rows:.1f} %"

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "held_out_rows": self.num_rows,
            "texts": list(self.num_texts),
            "saved": None if self.best is None else self.best.name,
            "models": [vars(each) | {"turned": list(each.turned)} for each in self.measured],
        }

    def save(self, folder: Path) -> None:
        """Write the best model, if there is one, as a `save_pretrained` folder."""
        from btu.running import save_classifier

        if self.best is not None:
            classifier = self.lab.get(self.models[self.best.name])
            save_classifier(classifier, self.label_names, folder / MODEL)


def check_trusted(examined_rows: int) -> None:
    """Raise a ConfigError if there are too few trusted rows to measure models with."""
    if examined_rows < LEAST_TRUSTED:
        raise ConfigError(
            f"--save-model measures models on trusted rows, and {examined_rows} are too few. Give "
            f"at least {LEAST_TRUSTED} with --trusted, or leave --save-model out."
        )


def train_models(examined: Examined, job: Job) -> Trained:
    """Train models of the file and of the rows without what was found, and measure them.

    Args:
        examined: with the verdict, and at least `LEAST_TRUSTED` trusted rows.
        job: with the model.
    """
    opened = examined.opened
    lab = open_network_lab(opened, job)
    held_out = hold_out(opened.trusted, lab.seed)
    judges = opened.trusted.take(np.flatnonzero(held_out))
    own = opened.trusted.take(np.flatnonzero(~held_out))
    kept = np.delete(np.arange(len(opened.judged)), examined.verdict.rows)
    cleaned = opened.judged.take(kept)
    models = {PLAIN: _train(lab, opened.judged, PLAIN)}
    models[TUNED] = _train(lab, own, TUNED, models[PLAIN])
    if len(kept) < len(opened.judged):
        models[TOGETHER] = _train(lab, join_rows([cleaned, own]), TOGETHER)
        models[IN_TURN] = _train(lab, own, IN_TURN, models[TOGETHER])
    epochs = count_epochs(len(own), lab.source.training)
    models[ALONE] = lab.train(own, replace(lab.source.training, epochs=epochs), title=ALONE)
    findings = tuple(finding for finding, _ in examined.convicted)
    texts = [_insert(finding, judges, lab.seed) for finding in findings]
    answers = {name: _ask(lab, model, judges, findings, texts) for name, model in models.items()}
    measured = []
    for name, (right, turned) in answers.items():
        effects = [measure_effect(*pair) for pair in zip(turned, answers[ALONE][1], strict=True)]
        is_clean = all(effect.p > examined.search.q for effect in effects)
        measured.append(Measured(name, right, tuple(int(t.sum()) for t in turned), is_clean))
    return Trained(
        lab=lab,
        models=models,
        measured=tuple(measured),
        findings=findings,
        num_texts=tuple(len(some) for some in texts),
        num_rows=len(judges),
        label_names=opened.label_names,
    )


def hold_out(trusted: Split, seed: int) -> BoolArray:
    """Which trusted rows no model learns: every third of each label. (n,)"""
    order = stream(seed, "held out").permutation(len(trusted))
    order = order[np.argsort(trusted.labels[order], kind="stable")]
    step = max(HELD_OUT, -(-len(trusted) // MOST_HELD_OUT))
    chosen = np.zeros(len(trusted), dtype=np.bool_)
    chosen[order[::step]] = True
    return chosen


def _train(
    lab: Lab, rows: Split, title: str, start: Stage[Classifier] | None = None
) -> Stage[Classifier]:
    """A model of some rows, or one that goes on with them as `tuned` does."""
    if start is not None:
        return lab.train(rows, lab.source.training, start=start, title=title)
    training = replace(lab.source.training, epochs=choose_epochs(lab, len(rows)))
    return lab.train(rows, training, title=title)


def _insert(finding: Finding, rows: Split, seed: int) -> list[str]:
    """The texts of other labels with what was planted."""
    rng = stream(seed, "inserted", finding.kind, *finding.phrase)
    others = [rows.texts[row] for row in np.flatnonzero(rows.labels != finding.label)]
    if finding.kind == WORDS:
        return [insert_phrase(text, finding.phrase, rng) for text in others]
    return [insert_marks(text, finding.marks, rng) for text in others]


def _ask(
    lab: Lab,
    model: Stage[Classifier],
    judges: Split,
    findings: Sequence[Finding],
    texts: Sequence[Sequence[str]],
) -> tuple[int, list[BoolArray]]:
    """How many rows a model gets right, and which texts each finding turns in it."""
    asked = [*judges.texts, *(text for some in texts for text in some)]
    said = say(lab, model, asked).labels
    ends = np.cumsum([len(judges), *map(len, texts)])
    alone, *others = np.split(said, ends[:-1])
    labels: list[IntArray] = list(others)
    turned = [part == finding.label for part, finding in zip(labels, findings, strict=True)]
    return int((alone == judges.labels).sum()), turned


def _name(finding: Finding) -> str:
    return spell(" ".join(finding.words), quoted=True) if finding.words else "how rows are written"
