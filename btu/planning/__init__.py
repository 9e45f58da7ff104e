"""What a sweep would mean, without running it: jobs, shared stages, hours and disk."""
