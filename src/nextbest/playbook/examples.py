"""Worked examples of offers and signals, run through the reference. They are the playbook's own tests."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from nextbest.errors import Problem
from nextbest.playbook.bind import Bound, BoundOffer
from nextbest.playbook.entry import Example
from nextbest.playbook.reference import Row, empty_row, outcome, with_features


def failures(bound: Bound) -> list[Problem]:
    """Every example that does not come out as written."""
    return [*_each(bound, _segment_cases(bound)), *_each(bound, _signal_cases(bound)), *_each(bound, _offer_cases(bound))]


def count(bound: Bound) -> int:
    """How many examples there are."""
    model = bound.model
    return sum(len(item.examples) for group in (model.segments, model.signals, model.offers) for item in group.values())


Case = tuple[Example, tuple[str, ...], Callable[[Row], dict[str, Any]]]


def _segment_cases(bound: Bound) -> Iterator[Case]:
    for name, segment in bound.model.segments.items():
        for index, example in enumerate(segment.examples):
            yield example, ("segments", name, "examples", str(index)), partial(_belongs, name)


def _belongs(segment: str, row: Row) -> dict[str, Any]:
    return {"belongs": row[segment]}


def _signal_cases(bound: Bound) -> Iterator[Case]:
    for name, signal in bound.model.signals.items():
        for index, example in enumerate(signal.examples):
            yield example, ("signals", name, "examples", str(index)), partial(_strength, name)


def _offer_cases(bound: Bound) -> Iterator[Case]:
    for offer in bound.offers:
        for index, example in enumerate(offer.model.examples):
            yield example, ("offers", offer.id, "examples", str(index)), partial(_outcome, bound, offer)


def _strength(signal: str, row: Row) -> dict[str, Any]:
    return {"strength": row[signal]}


def _outcome(bound: Bound, offer: BoundOffer, row: Row) -> dict[str, Any]:
    got = outcome(bound, offer, row)
    return {
        "eligible": got.eligible,
        "suitable": got.suitable,
        "benefit": got.benefit,
        "confidence": got.confidence,
        **({"expected_profit": got.expected_profit} if offer.margin else {}),
        **{f"term_{name}": amount for name, amount in got.terms.items()},
    }


def _each(bound: Bound, cases: Iterator[Case]) -> Iterator[Problem]:
    for example, path, actual in cases:
        try:
            row, problem = _row(bound, example, path)
            yield from [problem] if problem else _compare(bound, example, actual(row), path)
        except (TypeError, ValueError, ArithmeticError) as error:
            what = f"example '{example.name}' cannot be worked out: {error}"
            yield Problem(bound.loaded.where(*path), what, "a rule mixes kinds of values, e.g. text and number")


def _row(bound: Bound, example: Example, path: tuple[str, ...]) -> tuple[Row, Problem | None]:
    row = empty_row(bound)
    known = row.keys() | bound.held().keys() | bound.features.keys() | bound.segments.keys() | bound.model.signals.keys()
    unknown = sorted(set(example.given) - known)
    if unknown:
        return row, Problem(
            bound.loaded.where(*path),
            f"example '{example.name}' gives unknown {', '.join(unknown)}",
            "write a cell as spend[Такси], a customer column, a feature or a signal by its name",
        )
    return with_features(bound, {**row, **example.given}), None


def _compare(bound: Bound, example: Example, actual: dict[str, Any], path: tuple[str, ...]) -> Iterator[Problem]:
    for key, expected in example.expect.items():
        where = bound.loaded.where(*path)
        if key not in actual:
            yield Problem(where, f"example '{example.name}' expects unknown '{key}'", f"one of {', '.join(actual)}")
        elif not _same(expected, actual[key]):
            yield Problem(where, f"example '{example.name}': {key} is {actual[key]}, expected {expected}")


def _same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, bool) or not isinstance(expected, int | float) or actual is None:
        return bool(expected == actual)
    return math.isclose(expected, actual, rel_tol=1e-6, abs_tol=0.005)
