"""Figures of other people's papers, as far as they could be read at their source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from btu.report.groups import Group

NOT_AVAILABLE = "not available"
ABOUT_PUBLISHED = (
    "Published figures are per cent as printed at their source. They were measured in other "
    "settings, named in brackets (dirty: with changed labels), and never stand for a reproduction. "
    f"{NOT_AVAILABLE.capitalize()}: no figure for this defense, attack and data set could be read "
    "at its source."
)
SWITCHING = (
    'the text of "Module switching" (weight merging against backdoors), Tables 1 and 7; the '
    "attacks are called BadNet, InsertSent and Hidden there, and the defenses ONION, Z-Def and WAG"
)
TUNING = "Security & Safety 2024, Table 7"
OPENBACKDOOR = "OpenBackdoor, the picture in its README"
DIRTY = "RoBERTa-large, 20 % dirty"
BENIGN = "RoBERTa-large, benign"
AVERAGED = f"{DIRTY}, averaged with a benign model"
MIXED = "BERT, 10 % mixed labels"


@dataclass(frozen=True)
class Published:
    """What a source says of one method and attack, in its own digits."""

    method: str  # the defense, or `none`; `clean` of a model that was not attacked
    attack: str
    dataset: str
    asr: str
    cacc: str
    setting: str
    source: str

    @property
    def told(self) -> str:
        """`56.8 ASR, 92.8 CACC (RoBERTa-large, 20 % dirty)`."""
        return f"{self.asr} ASR, {self.cacc} CACC ({self.setting})"


def _by_attack(
    method: str, dataset: str, asrs: tuple[str, str, str], cacc: str, setting: str = DIRTY
) -> tuple[Published, ...]:
    """A line of the tables in `SWITCHING`, whose CACC is one for all attacks."""
    pairs = zip(("badnets", "addsent", "syntax"), asrs, strict=True)
    return tuple(Published(method, a, dataset, asr, cacc, setting, SWITCHING) for a, asr in pairs)


FIGURES = (
    *_by_attack("clean", "sst2", ("4.1", "2.2", "16.5"), "95.9", BENIGN),
    *_by_attack("none", "sst2", ("100", "100", "96.5"), "~96"),
    *_by_attack("onion", "sst2", ("56.8", "99.9", "92.9"), "92.8"),
    *_by_attack("zscore", "sst2", ("4.6", "1.8", "35.7"), "95.6"),
    *_by_attack("merge", "sst2", ("39.3", "5.5", "24.9"), "~96", AVERAGED),
    *_by_attack("clean", "agnews", ("1.9", "0.5", "1.1"), "95.4", BENIGN),
    *_by_attack("none", "agnews", ("99.9", "99.6", "100"), "95.0"),
    *_by_attack("onion", "agnews", ("59.4", "97.8", "99.6"), "92.3"),
    *_by_attack("zscore", "agnews", ("1.6", "0.4", "100"), "95.4"),
    Published("none", "badnets", "sst2", "100", "91.6", "BERT", TUNING),
    Published("none", "badnets", "agnews", "100", "94.2", "BERT", TUNING),
    Published("finetune", "badnets", "sst2", "16.5", "62.5", "BERT", TUNING),
    Published("finetune", "badnets", "agnews", "19.2", "60.8", "BERT", TUNING),
    Published("none", "badnets", "sst2", "100", "91.5", MIXED, OPENBACKDOOR),
)
CONTROLS = {"poisoned": "none", "clean": "clean"}  # the method of arms that nothing defends


def find_figures(group: Group) -> list[Published]:
    """What was published of the defense of a row, or of its arm, with this attack and data set."""
    method = group.defense if group.arm.defended else CONTROLS.get(group.arm.name)
    wanted = (method, group.attack, group.dataset)
    return [f for f in FIGURES if (f.method, f.attack, f.dataset) == wanted]


def tell_published(group: Group) -> str:
    """The published figures of a row in words, or that there are none."""
    return "; ".join(figure.told for figure in find_figures(group)) or NOT_AVAILABLE


def list_sources(groups: Iterable[Group]) -> list[str]:
    """Where the published figures of these rows are from, each source with its settings."""
    settings: dict[str, dict[str, None]] = {}
    for figure in (f for group in groups for f in find_figures(group)):
        settings.setdefault(figure.source, {})[figure.setting] = None
    return [f"{'; '.join(named)}: {source}." for source, named in settings.items()]
