"""What a run shows: tables on the terminal and plots."""
