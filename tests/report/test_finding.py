"""The finding of a study in a sentence."""

from btu.report.finding import find
from btu.report.groups import group_records
from btu.report.study import read_study
from btu.types import Scores
from tests.report.factory import chosen, record, small_study, write


def test_the_finding_of_a_mixture_is_of_the_attacks_that_are_known(tmp_path):
    blind = Scores(0.9, 1000, None, None, None, 0)
    names = {"dataset": "mine", "attack": "none"}
    rows = [
        *small_study(),
        record("poisoned", scores=blind, choices=chosen(**names, defense="none")),
        record("defended", 0.001, scores=blind, choices=chosen(**names)),
    ]

    alone, mixed = (
        find(group_records(read_study([write(tmp_path / name, *of)])))
        for name, of in (("alone", small_study()), ("mixed", rows))
    )

    assert mixed == alone
    assert "what the backdoor adds to ASR" in mixed[0]
