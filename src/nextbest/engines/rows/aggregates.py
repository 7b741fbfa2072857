"""Aggregates over the values of one group, as DuckDB has them."""

from collections.abc import Callable
from functools import reduce
from typing import Any

from nextbest.engines.rows.types import EXACT, LARGEST, Type, UnsupportedError, order

Whole = Callable[[list[Any]], Any]
"""The value of an aggregate."""


def _sum(kind: Type) -> Whole:
    if kind.id == "DECIMAL":
        return lambda known: _below(reduce(EXACT.add, known), 10 ** (38 - kind.scale)) if known else None
    if kind.id not in ("DOUBLE", "FLOAT"):
        return lambda known: _below(sum(known), LARGEST["HUGEINT"]) if known else None

    def total(known: list[Any]) -> Any:
        found = 0.0
        for value in known:  # one after the other: sum() of Python's mends what floats lose
            found += value
        return found if known else None

    return total


def _below(total: Any, limit: int) -> Any:
    if not -limit < total < limit:
        raise OverflowError
    return total


def _average(kind: Type) -> Whole:
    if kind.id != "DOUBLE":
        raise UnsupportedError(f"an average of type {kind.id}")
    total = _sum(kind)
    return lambda known: total(known) / len(known) if known else None


def _extreme(choose: Callable[..., Any]) -> Callable[[Type], Whole]:
    return lambda kind: lambda known: choose(known, key=order(kind)) if known else None


OF_KNOWN: dict[str, Callable[[Type], Whole]] = {
    "count": lambda kind: len,
    "sum": _sum,
    "avg": _average,
    "min": _extreme(min),
    "max": _extreme(max),
    "bool_and": lambda kind: lambda known: all(known) if known else None,
    "bool_or": lambda kind: lambda known: any(known) if known else None,
    "any_value": lambda kind: lambda known: known[0] if known else None,
}
"""Name → over the values that are not null."""


def aggregate(name: str, kinds: list[Type], separator: str = ",") -> Whole:
    """The aggregate over its arguments' values, a tuple for each row. Raises UnsupportedError."""
    if name == "count_star":
        return len
    if name in OF_KNOWN and len(kinds) == 1:
        of_known = OF_KNOWN[name](kinds[0])
        return lambda given: of_known([one for (one,) in given if one is not None])
    if name in ("list", "array_agg"):
        return lambda given: tuple([one for (one,) in given]) or None
    if name == "first":
        return lambda given: given[0][0] if given else None
    if name == "string_agg":
        return lambda given: separator.join(known) if (known := [one for one, *_ in given if one is not None]) else None
    if name in ("min_by", "arg_min", "max_by", "arg_max"):
        key, choose = order(kinds[1]), min if "min" in name else max
        return lambda given: choose(known, key=lambda pair: key(pair[1]))[0] if (known := [p for p in given if None not in p]) else None
    raise UnsupportedError(f"the aggregate {name}")
