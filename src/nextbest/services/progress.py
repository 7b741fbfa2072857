"""How far a service has come."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as each stage begins: its title, its place, how many there are."""


def silent(title: str, place: int, of: int) -> None:
    """Progress that shows nothing."""
