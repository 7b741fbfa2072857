"""report.html: one self-contained page of what a run decided and for whom. Bars are plain HTML, so that it opens
anywhere, prints, and follows light and dark; nothing is loaded from outside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nextbest.engines.base import Engine
from nextbest.measure.randomisation import ALARM, mismatch
from nextbest.messages.facts import PERIODS
from nextbest.plan.ranking import FIRST, col
from nextbest.plan.stage import quote, text
from nextbest.playbook.bind import Bound, BoundOffer
from nextbest.report.numbers import number
from nextbest.words import withheld


@dataclass(frozen=True)
class Bar:
    """One bar of a chart. `share` is its length, 0 to 1."""

    label: str
    value: str
    share: float


def write_report(engine: Engine, book: Bound, record: dict[str, Any], path: Path) -> None:
    """Write the page from the tables of a run that are still in the engine."""
    template = environment().get_template("report.html.j2")
    page = template.render(
        title=book.model.business.title.get("en") or next(iter(book.model.business.title.values())),
        record=record,
        counts=record["counts"],
        customers=record["counts"]["customers"],
        offers=_offers(engine, book),
        groups=_groups(engine, book),
        verdicts=_verdicts(engine, book),
        funnel=_funnel(record),
        confidence=_histogram(engine, _first_confidence(book), 10, 0, 100),
        lengths=_histogram(engine, "select length(message) from messages where message is not null", 5, *_bounds(engine)),
        periods=_periods(engine),
        treatments=_treatments(engine),
        samples=engine.rows(_samples(book)),
        placeholders=_placeholders(book),
        held=_held(book, record),
        holdouts=_holdouts(record),
        refused=[(rule, number(count)) for rule, count in record["counts"]["texts_refused"].items()],
    )
    path.write_text(page, encoding="utf-8")


def environment() -> Environment:
    """Templates of this package; what they are given is escaped."""
    return Environment(
        loader=PackageLoader("nextbest", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def bars(rows: list[tuple[str, float]], unit: str = "") -> list[Bar]:
    """Bars against the longest of them."""
    most = max((value for _, value in rows), default=0) or 1
    return [Bar(label, number(value) + unit, value / most) for label, value in rows]


def _name(book: Bound, offer: BoundOffer) -> str:
    return offer.model.name[book.model.business.languages[0]]


def _offers(engine: Engine, book: Bound) -> list[dict[str, Any]]:
    """Per offer: how many get it first, their median benefit and confidence."""
    total = engine.rows("select greatest(count(*), 1) from addressed")[0][0]
    firsts = {
        place: (count, benefit)
        for place, count, benefit in engine.rows(
            f"select {quote(FIRST)}, count(*), median({_of_first(book, 'benefit')}) from scored where {quote(FIRST)} is not null group by 1"
        )
    }
    found = []
    for place, offer in enumerate(book.offers, 1):
        count, benefit = firsts.get(place, (0, 0))
        found.append(
            {"name": _name(book, offer), "count": count, "benefit": number(float(benefit)), "percent": round(100 * count / total, 1)}
        )
    most = max((item["count"] for item in found), default=0) or 1
    return [
        {**item, "share": item["count"] / most, "shown": number(item["count"])} for item in sorted(found, key=lambda item: -item["count"])
    ]


def _groups(engine: Engine, book: Bound) -> dict[str, Any]:
    """First offers by group of customers: the first listed category of the customers table."""
    column = book.model.business.group
    if column is None:
        return {"column": None, "rows": []}
    counted = ", ".join(f"count(*) filter ({quote(FIRST)} = {place})" for place in range(1, len(book.offers) + 1))
    rows = engine.rows(
        f"select coalesce({quote(column)}, '?'), {counted} from features join scored using (" + quote(book.code) + ") group by 1 order by 1"
    )
    return {
        "column": column,
        "names": [name for name, *_ in rows],
        "rows": [
            {"offer": _name(book, offer), "cells": [(counts[place], counts[place] / (sum(counts) or 1)) for _, *counts in rows]}
            for place, offer in enumerate(book.offers)
        ],
    }


def _verdicts(engine: Engine, book: Bound) -> list[dict[str, Any]]:
    """Per offer: at which stage its candidates stopped, and how many were ranked."""
    stages = {"ineligible": "eligible", "held": "applicable", "unsuitable": "suitable", "weak": "strong"}
    counted = ["greatest(count(*), 1)"]
    for offer in book.offers:
        passed = "true"
        for name in stages.values():
            counted.append(f"count(*) filter ({passed} and not {col(offer, name)})")
            passed += f" and {col(offer, name)}"
    [(total, *counts)] = engine.rows(f"select {', '.join(counted)} from scored")
    found = []
    for place, offer in enumerate(book.offers):
        stopped = counts[place * len(stages) : (place + 1) * len(stages)]
        parts = [*zip(stages, stopped, strict=True), ("ranked", total - sum(stopped))]
        found.append({"name": _name(book, offer), "parts": [(name, value, value / total) for name, value in parts]})
    return found


def _funnel(record: dict[str, Any]) -> list[Bar]:
    customers = record["counts"]["customers"]
    kept = customers["scored"] + customers["objected_to_profiling"] + customers["held_out"]
    return bars(
        [
            ("customers", kept),
            ("scored", customers["scored"]),
            ("with an offer", customers["with_offer"]),
            ("may be written to", customers["with_offer"] - customers["without_consent"] - customers["held_back"]),
            ("with a message", customers["with_message"]),
        ]
    )


def _held(book: Bound, record: dict[str, Any]) -> list[tuple[str, str]]:
    """What held customers or messages back, and how many."""
    return [(withheld("en", rule), number(n)) for rule, n in record["counts"]["held_by"].items()]


def _holdouts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Per holdout: how many it should hold, how many it does, and whether chance explains the difference."""
    return [
        {
            "name": name,
            "share": f"{100 * item['share']:g}%",
            "expected": number(item["share"] * item["customers"]),
            "actual": number(item["held_out"]),
            "p": f"{(p := mismatch(item['held_out'], item['customers'], item['share'])):.3f}",
            "alarm": p < ALARM,
        }
        for name, item in record["counts"]["holdouts"].items()
    ]


def _first_confidence(book: Bound) -> str:
    return f"select 100 * {_of_first(book, 'propensity')} from scored where {quote(FIRST)} is not null"


def _of_first(book: Bound, name: str) -> str:
    """SQL over `scored`: a column of the customer's first offer."""
    return f"case {quote(FIRST)} {' '.join(f'when {place} then {col(offer, name)}' for place, offer in enumerate(book.offers, 1))} end"


def _bounds(engine: Engine) -> tuple[int, int]:
    low, high = engine.rows("select coalesce(min(length(message)), 0), coalesce(max(length(message)), 0) from messages")[0]
    first = low // 5 * 5
    return first, max(-(high // -5) * 5, first + 5)


def _histogram(engine: Engine, select: str, step: int, low: int, high: int) -> list[Bar]:
    counted = dict(
        engine.rows(
            f"select cast(floor(least(x, {high} - 1e-9) / {step}) as integer) * {step}, count(*) from ({select}) as t(x) group by 1"
        )
    )
    return bars([(f"{start}–{start + step}", counted.get(start, 0)) for start in range(low, high, step)])


def _periods(engine: Engine) -> list[Bar]:
    rows = dict(
        engine.rows(
            "select f.period::varchar, count(*) from (select unnest(facts) as f from messages where message is not null) group by 1"
        )
    )
    return bars([(name.replace("_", " "), rows[name]) for name in PERIODS if name in rows])


def _treatments(engine: Engine) -> list[tuple[str, str, int]]:
    return engine.rows(
        "select offer, treatment, count(*) from messages where message is not null group by 1, 2 order by 3 desc, 1, 2 limit 15"
    )


def _samples(book: Bound) -> str:
    names = " ".join(f"when {place} then {text(_name(book, offer))}" for place, offer in enumerate(book.offers, 1))
    key = quote(book.code)
    first = f"select place, min({key}) from messages where message is not null group by 1"
    nameless = f"select place, substring(message, length(greet) + 1) as bare from messages where (place, {key}) in ({first})"
    return f"select case place {names} end, upper(bare[1]) || bare[2:] from ({nameless}) order by 1"


def _placeholders(book: Bound) -> list[tuple[str, str]]:
    """Values marked as samples: the business has to replace them by its own."""
    found = [(name, param.source) for name, param in book.model.params.items() if param.sample]
    for offer in book.offers:
        found += [(f"{offer.id}: {name}", param.source) for name, param in offer.model.params.items() if param.sample]
    return found
