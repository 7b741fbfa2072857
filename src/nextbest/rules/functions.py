"""The functions a rule may call: what each means, its tree for an engine, and its Python twin.

A function is here when engines differ on it or when it says a business thought in one word. Its `sql` is
expanded into the tree before rendering, so every engine runs the same arithmetic; its `python` is written
apart, and the generative tests hold the two against each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlglot import exp, parse_one

Value = Any


@dataclass(frozen=True)
class Function:
    """A call allowed in rules. `sql` uses the argument names as columns; None means the engine has it as it is."""

    arguments: tuple[str, ...]
    meaning: str
    python: Callable[..., Value]
    sql: str | None = None
    least: int | None = None
    most: int | None = None

    def takes(self, given: int) -> bool:
        """Whether the function may be called with so many values."""
        fixed = len(self.arguments)
        return (self.least or fixed) <= given <= (self.most or fixed)

    def expand(self, arguments: list[exp.Expr]) -> exp.Expr | None:
        """The call as a tree of plain SQL, or None where the engine's own function is used."""
        if self.sql is None:
            return None
        named = dict(zip(self.arguments, arguments, strict=True))
        return _parsed(self.sql).transform(lambda node: exp.paren(named[node.name].copy()) if isinstance(node, exp.Column) else node)


@lru_cache(maxsize=100)
def _parsed(text: str) -> exp.Expr:
    return parse_one(text, dialect="duckdb")


def _strict(function: Callable[..., Value]) -> Callable[..., Value]:
    """SQL's rule: no value in, no value out."""
    return lambda *values: None if any(value is None for value in values) else function(*values)


def round_half_away(value: float, digits: int = 0) -> float:
    """Round half away from zero, as engines do (Python rounds half to even)."""
    scaled = abs(value) * 10**digits
    return math.copysign(math.floor(scaled + 0.5) / 10**digits, value)


def ramp(value: float, low: float, high: float) -> float:
    """1 from `high`, else 0 up to `low`, straight in between."""
    if value >= high:
        return 1.0
    return 0.0 if value <= low else (value - low) / (high - low)


def divide(over: Value, under: Value) -> Value:
    """Division without an accident: nothing divided by nothing is unknown."""
    return None if over is None or under is None or under == 0 else over / under


def _present(values: tuple[Value, ...]) -> list[Value]:
    return [value for value in values if value is not None]


def _top_sum(values: dict[str, Value], count: int) -> float:
    return float(sum(sorted((value or 0 for value in values.values()), reverse=True)[: int(count)]))


def _top_key(values: dict[str, Value], place: int) -> str | None:
    spent = [key for key, value in values.items() if (value or 0) > 0]
    ordered = sorted(spent, key=lambda key: -values[key])  # equal cells stand in the order of the source's values
    return ordered[int(place) - 1] if len(ordered) >= place else None


FUNCTIONS: dict[str, Function] = {
    "abs": Function(("x",), "size without sign", _strict(abs)),
    "ceil": Function(("x",), "next whole number up", _strict(math.ceil)),
    "floor": Function(("x",), "next whole number down", _strict(math.floor)),
    "round": Function(("x", "digits"), "round half away from zero", _strict(round_half_away), least=1),
    "exp": Function(("x",), "e to the power x", _strict(math.exp)),
    "ln": Function(
        ("x",),
        "natural logarithm, unknown where x is not above 0",
        _strict(lambda x: math.log(x) if x > 0 else None),
        "case when x > 0 then ln(x) end",
    ),
    "sqrt": Function(
        ("x",),
        "square root, unknown where x is below 0",
        _strict(lambda x: math.sqrt(x) if x >= 0 else None),
        "case when x >= 0 then sqrt(x) end",
    ),
    "lower": Function(("text",), "lower case", _strict(str.lower)),
    "length": Function(("text",), "number of characters", _strict(len)),
    "coalesce": Function(
        ("x", "otherwise"),
        "first known value",
        lambda *values: next((value for value in values if value is not None), None),
        most=99,
    ),
    "least": Function(("a", "b"), "smallest known value", lambda *v: min(_present(v), default=None), most=99),
    "greatest": Function(("a", "b"), "largest known value", lambda *v: max(_present(v), default=None), most=99),
    "ramp": Function(
        ("value", "low", "high"),
        "0 up to low, 1 from high, straight in between",
        _strict(ramp),
        "case when value is null or low is null or high is null then null when value >= high then 1.0 "
        "when value <= low then 0.0 else (value - low) / (high - low) end",
    ),
    "ratio": Function(
        ("a", "b"),
        "a / b, and 0 where b is 0 or unknown",
        lambda a, b: divide(a, b) or 0.0,
        "coalesce(a / nullif(b, 0), 0)",
    ),
    "top_sum": Function(("measure", "count"), "sum of the largest cells of a measure, of all where it has fewer", _top_sum),
    "top_key": Function(
        ("measure", "place"),
        "name of the n-th largest cell of a measure that is above 0, null where there is none; of equals the first one listed",
        _top_key,
    ),
}
"""Name → function. `top_sum` and `top_key` take a whole measure (`top_sum(spend, 3)`)."""
