"""Holdouts: who is left alone, to measure against."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from nextbest.playbook.bind import bound
from nextbest.playbook.load import load
from nextbest.services.moment import day_of


def held_out(customers: Iterable[str | int], *, as_of: date | str, playbook: str | Path = "bank-kz") -> dict[str, list[str]]:
    """Each customer's holdouts: `global`, `playbook`, or `offer:<id>`. It follows from code and salt alone; no data are read.

    Raises PlaybookError, UsageError.
    """
    contact = bound(load(playbook), day_of(as_of)).contact
    drawn = {item.name: item for item in contact.holdouts} | {f"offer:{name}": item for name, item in contact.offer_holdouts.items()}
    customers = [customers] if isinstance(customers, str) else customers
    return {str(customer): [name for name, item in drawn.items() if item.holds(str(customer))] for customer in customers}
