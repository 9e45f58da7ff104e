"""Rewriters: a text in another style or sentence pattern, by rules or by a language model."""
