"""How a multirun becomes jobs, and how they run: one after the other, at once, or on a cluster."""
