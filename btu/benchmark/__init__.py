"""How fast the stages run, and how near that is to what the machine can do."""
