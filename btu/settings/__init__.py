"""Settings: what each may be, said beside its field and checked at one place."""
