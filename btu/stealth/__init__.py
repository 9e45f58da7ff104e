"""How far a trigger can be seen: perplexity, sentence similarity and edit distance."""
