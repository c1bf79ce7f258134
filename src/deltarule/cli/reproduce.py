"""placeholder"""


def reproduce() -> None:
    """Reproduce."""
