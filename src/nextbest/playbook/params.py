"""Dated numbers: which value of a parameter holds on a day."""

from datetime import date

from nextbest.playbook.entry import Param
from nextbest.playbook.model import Playbook
from nextbest.rules.parse import ParamValue


def value_on(param: Param, day: date) -> ParamValue | None:
    """The value in force on `day`, or None where the first one starts later."""
    started = [start for start in param.values if start <= day]
    return param.values[max(started)] if started else None


def latest_start(model: Playbook) -> date:
    """The first day on which every parameter has a value."""
    offers = (param for offer in model.offers.values() for param in offer.params.values())
    return max(min(param.values) for param in (*model.params.values(), *offers))


def steps(param: Param) -> list[tuple[date, ParamValue]]:
    """All values with the day each starts, latest first."""
    return sorted(param.values.items(), reverse=True)
