"""Sweeps: which jobs they have, where these run, and what became of each."""
