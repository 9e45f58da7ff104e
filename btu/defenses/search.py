"""What a self-thresholding defense may be told: what counts, what is looked for, what is done."""

from __future__ import annotations

from dataclasses import dataclass

EVIDENCE = EXCESS, CONTRADICTION, EFFECT = ("excess", "contradiction", "effect")
REPAIRS = COUNTER_EXAMPLES, ANTIDOTE, DROP, UNLEARN = (
    "counter_examples",
    "antidote",
    "drop",
    "unlearn",
)
LABELS = LIKELIEST, SAMPLED = ("likeliest", "sampled")
CONTROLS = NO_CONTROL, RANDOM_ROWS, TRUSTED_ROWS = ("none", "random_rows", "trusted_rows")
LEAST_ROWS = 5  # that hold a term which is worth counting


@dataclass(frozen=True)
class Search:
    """What is looked for, and how.

    Args:
        evidence: of `EVIDENCE`: what is counted of terms, and whether a conviction needs an effect.
        kinds: of `KINDS`.
        q: the error rate.
        num_probes: trusted texts that a phrase is inserted into, at least.
        max_tried: phrases whose effect is tried, the most surprising first.
        by_shift: whether an excess must be one beyond what the rows of other labels differ by.
        few_trusted: as in an audit, where trusted rows may be few: rows that none resembles are
            told by an estimate, and among all rows; signs that often stand beside a phrase are no
            part of it; what turns no more than half of the texts must be surer.
    """

    evidence: tuple[str, ...]
    kinds: tuple[str, ...]
    q: float
    num_probes: int
    max_tried: int
    by_shift: bool = False
    few_trusted: bool = False

    @property
    def needs_effect(self) -> bool:
        """Whether nothing is convicted that does not turn texts in the victim."""
        return EFFECT in self.evidence
