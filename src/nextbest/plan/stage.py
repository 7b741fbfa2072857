"""A stage: one named table with a declared grain, made by one SELECT over earlier stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

once = lru_cache(maxsize=1024)
"""For statements made of a playbook alone: deciding for one customer after another, making them would take most of the time."""

FILE_COLUMN = "nextbest source file"
"""The column in which an engine says what file a row came from."""


@dataclass(frozen=True)
class Stage:
    """`select` makes the table `name`; `grain` says what one row is."""

    name: str
    grain: str
    select: str


def together(name: str, selects: Sequence[str]) -> Stage:
    """The stage of all rows of several selects."""
    return Stage(name, "one row of a select", "\nunion all\n".join(selects))


def quote(name: str) -> str:
    """A column or table name, quoted."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def listing(items: list[str], indent: str = "  ") -> str:
    """Select items, one a line."""
    return (",\n" + indent).join(items)
