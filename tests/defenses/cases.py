"""Cases of linear models, which take a fraction of a second."""

from btu.auditing.linear import LinearLab
from btu.defenses.case import Case
from btu.defenses.reference import Reference
from btu.defenses.search import EVIDENCE, Search

Q = 0.05


def open_linear_case(seed, names, untrusted, trusted, kinds):
    """Two splits as an audit compares them."""
    lab = LinearLab(seed, names)
    return Case(
        lab=lab,
        untrusted=untrusted,
        trusted=trusted,
        victim=lab.train(untrusted, lab.training),
        reference=Reference(lab, trusted, None),
        search=Search(EVIDENCE, kinds, Q, 40, 60, by_shift=True, few_trusted=True),
        fold=True,
    )
