"""What is kept on disk: finished stages, records, and who is computing which."""
