"""Statistics that find what was planted without a threshold: of counts, of scores, of texts."""

KINDS = WORDS, ROWS = ("words", "rows")  # of findings
