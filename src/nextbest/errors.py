"""Errors as a product: every problem at once, each saying where, what, why and how to fix it.

Exit codes are part of the public API, so that scripts can tell a broken playbook from bad data.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong. `where` names a file and a line or a table and a column, never a customer's value."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n    fix: {self.fix}" if self.fix else "")


class NextbestError(Exception):
    """Base of all errors that a user can mend. Carries every problem found, not only the first."""

    exit_code = 1
    title = "Nextbest could not go on"

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join([self.title, *(f"  {problem}" for problem in self.problems)]))


class UsageError(NextbestError):
    """A command or call was given something that does not exist or does not fit."""

    exit_code = 2
    title = "The call does not fit"


class PlaybookError(NextbestError):
    """A playbook's files are wrong: schema, unknown names, rules outside the language, failing examples."""

    exit_code = 3
    title = "The playbook has problems"


class DataError(NextbestError):
    """The input cannot be read as the tables that the playbook declares."""

    exit_code = 4
    title = "The data cannot be read"


class StoreError(NextbestError):
    """The workspace cannot be reached, read or written."""

    exit_code = 5
    title = "The workspace cannot be used"
