"""Data: where texts come from, and how they are poisoned."""
