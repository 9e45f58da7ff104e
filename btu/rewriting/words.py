"""The words that the built-in rewriters know, by what they do in a sentence."""

COMMON_WORDS = frozenset("a an the".split())
