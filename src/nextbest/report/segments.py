"""What segments show: a table for the terminal, and a page for whoever decides about money, in the playbook's language."""

from pathlib import Path

from rich.console import Group as Together
from rich.console import RenderableType
from rich.table import Table

from nextbest.measure.ranking import Figure
from nextbest.measure.segments import Difference
from nextbest.report.html import environment
from nextbest.report.numbers import number
from nextbest.services.segments import Group, Segments
from nextbest.words import say, withheld

SHOWN = 8
"""Differences shown of a group."""


def figure(value: Figure | float | None, digits: int = 0) -> str:
    """With its interval where there is one."""
    if value is None:
        return "–"
    if isinstance(value, float | int):
        return _number(value, digits)
    return f"{_number(value.value, digits)} ({_number(value.low, digits)} – {_number(value.high, digits)})"


def _number(value: float, digits: int) -> str:
    return number(value) if digits == 0 else f"{value:.{digits}f}"


def table(found: Segments) -> RenderableType:
    """A row per group, then who gets nothing and why."""
    currency = found.book.model.channels[found.book.model.business.channel].sign
    words = {name: say(found.language, f"segments.{name}", currency=currency) for name in COLUMNS}
    groups = Table(title=f"{found.everyone.customers} {words['customers']}", title_justify="left")
    for name in COLUMNS:
        groups.add_column(words[name], justify="left" if name == "group" else "right")
    for item in (found.everyone, *([found.at_risk] if found.at_risk else []), *found.declared, *found.found):
        groups.add_row(called(found, item), *cells(item))
    dropped = [f"{say(found.language, f'segments.stage.{stage}')}: {count}" for stage, count in found.dropped.items()]
    held = [f"{held_back(found, reason)}: {count}" for reason, count in found.withheld.items()]
    return Together(groups, *dropped, *held)


COLUMNS = ("group", "customers", "risk", "value", "trend", "stake", "profit")


def called(found: Segments, group: Group) -> str:
    """A group's name for people."""
    return group.meaning or say(found.language, f"segments.{group.name}")


def held_back(found: Segments, reason: str) -> str:
    """What held a message back, in words: of those with an offer, so that it is said."""
    return say(found.language, f"segments.withheld.{reason}") if reason in ("consent", "no_text") else withheld(found.language, reason)


def cells(group: Group) -> list[str]:
    """The columns after the name."""
    share = f"{number(group.customers)} ({group.share:.1%})"
    return [share, figure(group.risk, 2), *(figure(value) for value in (group.value, group.trend, group.at_stake, group.expected_profit))]


def differences(found: Segments, group: Group) -> list[tuple[str, Difference]]:
    """The largest differences that are beyond chance, one of each feature, with what people call it."""
    shown: dict[str, Difference] = {}
    for item in group.profile:
        if item.beyond_chance:
            shown.setdefault(item.feature, item)
    named = [(found.book.called(item.feature, found.language) + (f": {item.value}" if item.value else ""), item) for item in shown.values()]
    return named[:SHOWN]


def write_page(found: Segments, path: Path) -> None:
    """One self-contained page."""
    model = found.book.model
    samples = [param for param in model.params.values() if param.sample]
    samples += [param for offer in model.offers.values() for param in offer.params.values() if param.sample]
    currency = model.channels[model.business.channel].sign
    page = (
        environment()
        .get_template("segments.html.j2")
        .render(
            found=found,
            groups=[*found.declared, *found.found],
            title=model.business.title.get(found.language) or next(iter(model.business.title.values())),
            say=lambda key, **values: say(found.language, f"segments.{key}", **values),
            currency=currency,
            called=lambda group: called(found, group),
            cells=cells,
            withheld=lambda reason: held_back(found, reason),
            columns=COLUMNS,
            differences=lambda group: differences(found, group),
            name=lambda feature: found.book.called(feature, found.language),
            figure=figure,
            number=number,
            samples=len(samples),
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
