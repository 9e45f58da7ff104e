"""`btu audit`: what was planted in a file, in which rows, and what is left without it."""
