"""What a study found, in one or two sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from btu.report.best import best_repairs, blocks
from btu.report.groups import Group
from btu.report.titles import attack_of, control_of, listed, subject_of, variant_of
from btu.store.records import CHOICES
from btu.types import TRUSTED_ONLY, VICTIM

MOST_NAMES = 4  # attacks that a sentence lists


@dataclass(frozen=True)
class _Pair:
    """The undefended model of a block, the trusted rows' own, and a repair at its best."""

    victim: Group
    trusted_only: Group | None
    repair: Group


def find(groups: Sequence[Group]) -> tuple[str, ...]:
    """The finding: what the best defense leaves of the backdoors and costs, means over blocks.

    The best defense is the one that was tried in most blocks (of a dataset, attack and model), and
    of those the one with the highest mean score, or CACC where no trigger is known.
    """
    scored = [block for block in blocks(groups) if any(g.score for g in block)]
    pairs = _pairs(scored or blocks(groups))  # of a mixture, what was measured with a trigger
    if pairs:
        best = max(pairs, key=lambda name: (len(pairs[name]), _weight(pairs[name])))
        return _of_defense(best, pairs[best], len(pairs))
    victims = [g for g in groups if g.arm == VICTIM]
    if not victims:
        return ("No undefended model is among these records, so nothing says what a defense does.",)
    words = f"Without a defense, {_subject(victims)}: CACC {_percent(victims, 'cacc')} %"
    added = f"; the backdoor adds {_percent(victims, 'excess')} points to ASR"
    return (words + added * all(g.excess for g in victims) + ".",)


def _pairs(found: Sequence[Sequence[Group]]) -> dict[str, list[_Pair]]:
    pairs: dict[str, list[_Pair]] = {}
    for block in found:
        victim, trusted_only = control_of(block, VICTIM), control_of(block, TRUSTED_ONLY)
        for repair in best_repairs(block):
            if victim:
                pair = _Pair(victim, trusted_only, repair)
                pairs.setdefault(variant_of(repair), []).append(pair)
    return pairs


def _weight(pairs: Sequence[_Pair]) -> float:
    spreads = (pair.repair.score or pair.repair.cacc for pair in pairs)
    return fmean(spread.mean if spread else 0.0 for spread in spreads)


def _of_defense(name: str, pairs: Sequence[_Pair], num_defenses: int) -> tuple[str, ...]:
    victims, repairs = [p.victim for p in pairs], [p.repair for p in pairs]
    who = f"{name}, the best of {num_defenses} defenses," if num_defenses > 1 else name
    costs = f"CACC goes from {_percent(victims, 'cacc')} to {_percent(repairs, 'cacc')} %"
    if not all(g.excess for g in (*victims, *repairs)):
        return (
            f"{who} on {_subject(victims)}: {costs}.",
            "No trigger is known, so nothing here tells whether a backdoor is left.",
        )
    worst = max(repairs, key=lambda g: g.excess.mean if g.excess else 0.0)
    words = (
        f"{who} against {_subject(victims)}: what the backdoor adds to ASR goes from "
        f"{_percent(victims, 'excess')} to {_percent([*repairs], 'excess')} points"
    )
    if len(pairs) > 1:
        at = ", ".join(attack_of(worst).split("\n"))
        words += f" on average (at worst {_percent([worst], 'excess')}, {at})"
    trusted = [p.trusted_only for p in pairs if p.trusted_only]
    alone = (
        f"The trusted rows alone give a CACC of {_percent(trusted, 'cacc')} % and "
        f"{_percent(trusted, 'excess')} points."
        if len(trusted) == len(pairs) and all(g.excess for g in trusted)
        else ""
    )
    return tuple(filter(None, (f"{words}; {costs}.", alone)))


def _percent(groups: Sequence[Group], score: str) -> str:
    spreads = (getattr(group, score) for group in groups)
    return f"{100 * fmean(spread.mean for spread in spreads):.1f}"


def _subject(victims: Sequence[Group]) -> str:
    """`badnets and style on sst2 (minilm), 3 seeds`."""
    seeds = max(len(group.seeds) for group in victims)
    over = f", {seeds} seeds" if seeds > 1 else ", 1 seed"
    if len(victims) == 1:
        return subject_of(victims[0]) + over
    told = {name: list(dict.fromkeys(getattr(g, name) for g in victims)) for name in CHOICES}
    attacks, datasets, models = told["attack"], told["dataset"], told["model"]
    names = listed(attacks) if len(attacks) <= MOST_NAMES else f"{len(attacks)} attacks"
    where = datasets[0] if len(datasets) == 1 else f"{len(datasets)} data sets"
    by = models[0] if len(models) == 1 else f"{len(models)} models"
    settings = len(victims) > len(attacks) * len(datasets) * len(models)
    return f"{names} on {where} ({by}{', several settings' * settings}){over}"
