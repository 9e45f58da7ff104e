"""A defense that sets its own threshold: it convicts by evidence and repairs what is convicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from btu.data.splits import shared_rows
from btu.defenses.base import Decision, Defense
from btu.defenses.search import CONTROLS, EVIDENCE, LABELS, LEAST_ROWS, REPAIRS, Search
from btu.errors import ConfigError
from btu.evidence import KINDS
from btu.settings.ranges import Choice, Count, Items, Rate
from btu.types import CONTROLS as CONTROL_ARMS
from btu.types import Knob, Split

if TYPE_CHECKING:
    from btu.defenses.case import Case
    from btu.defenses.repair import Medicine
    from btu.lab import Lab
    from btu.store.stages import Stage

LEAST_TRUSTED = 50


@dataclass(frozen=True)
class SelfSet(Defense):
    """Words and rows that were planted are convicted at an error rate; nothing found, nothing done.

    The method is ours; docs/selfset.md tells it on one page.
    """

    evidence: Annotated[list[Annotated[str, Choice(EVIDENCE)]], Items(1)]
    look_for: Annotated[list[Annotated[str, Choice(KINDS)]], Items(1)]
    repairs: Annotated[list[Annotated[str, Choice(REPAIRS)]], Items(1)] | None  # None: by the rule
    labels: Annotated[str, Choice(LABELS)]  # of the reference, that rows found get
    reference_epochs: Count | None  # of each half; None: by the rule of docs/selfset.md
    num_probes: Count  # trusted texts that a phrase is inserted into, at least
    max_tried: Count  # phrases that are inserted
    learning_rate: Rate  # of the repair
    epochs: Count | None  # of the repair; None: by the rule
    control: Annotated[str, Choice(CONTROLS)]  # what stands in for what was found

    knob: ClassVar[Knob | None] = Knob(
        label="error rate",
        unit="error rates",
        low=0.0001,
        high=0.5,
        example=0.05,
        example_means="one false conviction in twenty",
    )
    tunes: ClassVar[bool] = True
    sets_tuning: ClassVar[bool] = True
    needs_trusted_rows: ClassVar[bool] = True

    def arms(self) -> tuple[str, ...]:
        """The controls and the whole method: its repair is a tuning."""
        return (*CONTROL_ARMS, "defended")

    def check(self, rows: Split, trusted: Split | None) -> None:
        """Raise a ConfigError where the trusted rows, or all rows, are too few to judge by."""
        assert trusted is not None
        trusted = leave_out_shared(trusted, rows)
        if len(trusted) < LEAST_TRUSTED:
            raise ConfigError(
                f"defense {self.name} judges by at least {LEAST_TRUSTED} trusted rows whose texts "
                f"are not in the file, got {len(trusted)}. Give more with dataset.tuning=PATH, "
                "dataset.tuning_holdout or tuning.max_samples, or choose another defense."
            )
        if len(np.unique(trusted.labels)) < 2:
            raise ConfigError(
                f"defense {self.name}: all {len(trusted)} trusted rows have one label, and so no "
                "model can be trained on them. Give rows of every label with dataset.tuning=PATH."
            )
        self._check_counts(rows)

    def _check_counts(self, rows: Split) -> None:
        """Raise a ConfigError where no word stands in enough rows to be tested."""
        from btu.evidence.words import index_terms, split_words

        if not index_terms([split_words(text, True) for text in rows.texts], LEAST_ROWS).terms:
            raise ConfigError(
                f"defense {self.name}: no word stands in {LEAST_ROWS} of the {len(rows)} training "
                f"rows, so that none can be tested: it takes {100 * LEAST_ROWS / len(rows):.2g} % "
                "of them. Give more rows."
            )

    def passes(self, lab: Lab) -> Sequence[Stage[Any]]:
        """The two halves of the reference."""
        return self._open(lab, 0.5, Decision()).reference.models

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Convict what was planted at this error rate, and choose its repair."""
        from btu.defenses.repair import Repairer
        from btu.defenses.verdict import describe, judge

        case = self._open(lab, self.need(threshold), before)
        verdict = judge(case)
        told = describe(case, verdict)
        if left_out := len(lab.trusted or ()) - len(case.trusted):
            told["notes"].append(
                f"{left_out:,} trusted rows are left out: the file has their texts"
            )
        found = replace(
            before,
            found_words=(*(before.found_words or ()), *verdict.words),
            found_rows=before.number(verdict.rows),
        )
        if verdict.convicted:
            found, what = Repairer(case, verdict, self._medicine()).treat(found)
            told |= what | {"notes": [*told["notes"], *what["notes"]]}
        return replace(found, evidence={**before.evidence, self.name: told})

    def _medicine(self) -> Medicine:
        from btu.defenses.repair import Medicine

        repairs = None if self.repairs is None else tuple(self.repairs)
        return Medicine(repairs, self.labels, self.control, self.learning_rate, self.epochs)

    def _open(self, lab: Lab, q: float, before: Decision) -> Case:
        """The case of these rows against the trusted ones."""
        from btu.defenses.case import Case
        from btu.defenses.reference import Reference

        untrusted = before.keep(lab.rows)
        assert lab.trusted is not None
        trusted = leave_out_shared(lab.trusted, untrusted)
        return Case(
            lab=lab,
            untrusted=untrusted,
            trusted=trusted,
            victim=lab.train(untrusted, before.training or lab.source.training),
            reference=Reference(lab, trusted, self.reference_epochs),
            search=Search(
                tuple(self.evidence), tuple(self.look_for), q, self.num_probes, self.max_tried
            ),
            fold=lab.ignores_case,
        )


def leave_out_shared(trusted: Split, untrusted: Split) -> Split:
    """The trusted rows whose texts are not among the untrusted ones, blanks aside."""
    shared, _ = shared_rows(trusted, untrusted)
    return trusted.take(np.delete(np.arange(len(trusted)), shared)) if len(shared) else trusted
