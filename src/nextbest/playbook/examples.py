"""Worked examples of offers and signals, run through the reference. They are the playbook's own tests."""

import math
from collections.abc import Iterator
from typing import Any

from nextbest.errors import Problem
from nextbest.playbook.bind import Bound
from nextbest.playbook.model import Example
from nextbest.playbook.reference import Row, empty_row, outcome, with_features


def failures(bound: Bound) -> list[Problem]:
    """Every example that does not come out as written."""
    return [*_signal_failures(bound), *_offer_failures(bound)]


def count(bound: Bound) -> int:
    """How many examples there are."""
    model = bound.model
    return sum(len(s.examples) for s in model.signals.values()) + sum(len(o.examples) for o in model.offers.values())


def _signal_failures(bound: Bound) -> Iterator[Problem]:
    for name, signal in bound.model.signals.items():
        for index, example in enumerate(signal.examples):
            path = ("signals", name, "examples", str(index))
            row, problem = _row(bound, example, path)
            if problem:
                yield problem
            else:
                yield from _compare(bound, example, {"strength": row[name]}, path)


def _offer_failures(bound: Bound) -> Iterator[Problem]:
    for offer in bound.offers:
        for index, example in enumerate(offer.model.examples):
            path = ("offers", offer.id, "examples", str(index))
            row, problem = _row(bound, example, path)
            if problem:
                yield problem
                continue
            got = outcome(bound, offer, row)
            actual = {
                "eligible": got.eligible,
                "suitable": got.suitable,
                "benefit": got.benefit,
                "confidence": got.confidence,
                **{f"term_{name}": amount for name, amount in got.terms.items()},
            }
            yield from _compare(bound, example, actual, path)


def _row(bound: Bound, example: Example, path: tuple[str, ...]) -> tuple[Row, Problem | None]:
    row = empty_row(bound)
    known = row.keys() | bound.features.keys() | bound.signals.keys()
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
