"""What names the code of a component in keys."""


def code_of(cls: type) -> str:
    """Stand-in."""
    return cls.__qualname__
