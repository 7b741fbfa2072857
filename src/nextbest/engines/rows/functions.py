"""Scalar functions over Python values, as DuckDB has them. A function that is not here is asked of DuckDB (`asking.py`)."""

import math
from collections.abc import Callable
from datetime import timedelta
from operator import add, mul, neg, pos, sub
from typing import Any

from nextbest.engines.rows import lists, texts
from nextbest.engines.rows.jsons import json_of
from nextbest.engines.rows.texts import Fixed, Function
from nextbest.engines.rows.types import (
    DUCKDB_1,
    EPOCH,
    EXACT,
    FLOATING,
    LARGEST,
    WHOLE,
    Type,
    UnsupportedError,
    order,
    rescaled,
    rounded,
    rounded_to,
)

# -- functions that take nulls -------------------------------------------------------------------------------------------


def _extreme(largest: bool) -> Callable[[list[Type]], Function]:
    def of(kinds: list[Type]) -> Function:
        floating = kinds[0].id in FLOATING
        key = order(kinds[0])
        choose = max if largest else min

        def extreme(*values: Any) -> Any:
            known = [value for value in values if value is not None]
            if floating and any(value != value for value in known):
                return choose(known, key=key)
            return choose(known, default=None)

        return extreme if kinds[0].id not in ("ENUM", "LIST", "STRUCT") else _unsupported(kinds[0])

    return of


def _unsupported(kind: Type) -> Function:
    raise UnsupportedError(f"the largest of values of type {kind.id}")


def _concat_ws(kinds: list[Type]) -> Function:
    return lambda mark, *texts: None if mark is None else mark.join([text for text in texts if text is not None])


def _concat(kinds: list[Type]) -> Function:
    if any(kind.id not in ("VARCHAR", "ENUM") for kind in kinds):
        raise UnsupportedError("concat() of values that are no text")
    return lambda *texts: "".join([text for text in texts if text is not None])


def _packed(kinds: list[Type]) -> Function:
    return lambda *values: values


def _list_concat(kinds: list[Type]) -> Function:
    return lambda *lists: tuple(value for values in lists if values is not None for value in values)


def _hash(kinds: list[Type]) -> Function:
    """Another number than DuckDB's, for equality within one process: plans must not show it."""
    return lambda *values: hash(values) & 0xFFFF_FFFF_FFFF_FFFF


def _json_array(kinds: list[Type]) -> Function:
    items = [json_of(kind) for kind in kinds]
    return lambda *values: f"[{','.join([item(value) for item, value in zip(items, values, strict=True)])}]"


WITH_NULLS: dict[str, Callable[[list[Type]], Function]] = {
    "greatest": _extreme(True),
    "least": _extreme(False),
    "concat_ws": _concat_ws,
    "concat": _concat,
    "list_value": _packed,
    "struct_pack": _packed,
    "list_concat": _list_concat,
    "list_cat": _list_concat,
    "hash": _hash,
    "list_contains": lambda kinds: lists.contains,
    "string_split": lambda kinds: texts.split,
    "list_position": lambda kinds: lists.position,
    "list_indexof": lambda kinds: lists.position,
    "json_array": _json_array,
}
"""Name → the function for arguments of some types, which sees nulls."""


# -- functions of which null makes null ------------------------------------------------------------------------------------


def strict(name: str, kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """The function for arguments of these types, none of them null; None where it is not here."""
    numeric = all(kind.id in WHOLE | FLOATING | {"DECIMAL"} for kind in kinds)
    if name in _ARITHMETIC:
        return _ARITHMETIC[name](kinds, result) if numeric else None
    if name in _NUMERIC:
        return _NUMERIC[name](kinds, result) if numeric else None
    if name in texts.TEXTS and all(kind.id in ("VARCHAR", "ENUM") for kind in kinds):
        return texts.TEXTS[name]
    if name in texts.PATTERNS:
        return texts.PATTERNS[name](fixed)
    if name in lists.LISTS and kinds[0].id == "LIST":
        return lists.LISTS[name]
    made = _OTHERS.get(name)
    return made(kinds, result, fixed) if made else None


def _within(result: Type, function: Function) -> Function:
    """What does not fit its type is an error of DuckDB's to tell."""
    if result.id in FLOATING:
        return function
    limit = 10 ** (result.width - result.scale) if result.id == "DECIMAL" else LARGEST.get(result.id, 0)

    def value(*values: Any) -> Any:
        found = function(*values)
        if not -limit < found < limit:
            raise OverflowError
        return found

    return value


def _exact_or(result: Type, plain: Function, exact: Function) -> Function | None:
    if result.id == "FLOAT":  # Python has no single precision
        return None
    return _within(result, exact if result.id == "DECIMAL" else plain)


def _plus(kinds: list[Type], result: Type) -> Function | None:
    return _exact_or(result, pos, EXACT.plus) if len(kinds) == 1 else _exact_or(result, add, EXACT.add)


def _minus(kinds: list[Type], result: Type) -> Function | None:
    return _exact_or(result, neg, EXACT.minus) if len(kinds) == 1 else _exact_or(result, sub, EXACT.subtract)


def _times(kinds: list[Type], result: Type) -> Function | None:
    return _exact_or(result, mul, lambda a, b: EXACT.plus(EXACT.multiply(a, b)))  # which has no zero below zero


def _divided(kinds: list[Type], result: Type) -> Function | None:
    return _by if result.id == "DOUBLE" else None


def _by(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _whole_divided(kinds: list[Type], result: Type) -> Function | None:
    def of(a: int, b: int) -> int:
        return (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)

    within = _within(result, of)
    return (lambda a, b: _by_nothing() if b == 0 else within(a, b)) if _whole(kinds) else None


def _by_nothing() -> None:
    if not DUCKDB_1:
        raise ZeroDivisionError


def _remainder(kinds: list[Type], result: Type) -> Function | None:
    if _whole(kinds):
        return lambda a, b: _by_nothing() if b == 0 else (abs(a) % abs(b)) * (-1 if a < 0 else 1)
    return (lambda a, b: math.fmod(a, b) if b and math.isfinite(a) else math.nan) if result.id == "DOUBLE" else None


def _whole(kinds: list[Type]) -> bool:
    return all(kind.id in WHOLE for kind in kinds)


_ARITHMETIC: dict[str, Callable[[list[Type], Type], Function | None]] = {
    "+": _plus, "-": _minus, "*": _times, "/": _divided, "//": _whole_divided, "%": _remainder, "mod": _remainder,
}  # fmt: skip


def _round(kinds: list[Type], result: Type) -> Function | None:
    if kinds[0].id in WHOLE:
        return (lambda value: value) if len(kinds) == 1 else None
    if kinds[0].id == "DECIMAL":
        scale = result.scale
        return (lambda value, *digits: rescaled(value, scale)) if scale or len(kinds) == 1 else None
    return (rounded if len(kinds) == 1 else rounded_to) if result.id == "DOUBLE" else None


def _of_floats(function: Callable[[float], float]) -> Callable[[list[Type], Type], Function | None]:
    return lambda kinds, result: function if result.id == "DOUBLE" and kinds[0].id == "DOUBLE" else None


def _edge(whole: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: math.copysign(float(whole(value)), value) if math.isfinite(value) else value


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


_NUMERIC: dict[str, Callable[[list[Type], Type], Function | None]] = {
    "round": _round,
    "abs": lambda kinds, result: _exact_or(result, abs, EXACT.abs),
    "floor": _of_floats(_edge(math.floor)),
    "ceil": _of_floats(_edge(math.ceil)),
    "exp": _of_floats(_exp),
    "isfinite": lambda kinds, result: math.isfinite,
    "isnan": lambda kinds, result: math.isnan,
}


def _made_timestamp(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    return (lambda micros: EPOCH + timedelta(microseconds=micros)) if len(kinds) == 1 and _whole(kinds) else None


_OTHERS: dict[str, Callable[[list[Type], Type, Fixed], Function | None]] = {
    "struct_extract": lists.member,
    "struct_extract_at": lists.member,
    "array_extract": lists.extracted,
    "list_extract": lists.extracted,
    "array_slice": lists.sliced,
    "list_slice": lists.sliced,
    "list_sort": lists.in_order(False),
    "list_reverse_sort": lists.in_order(True),
    "map_extract_value": lists.at_key,
    "range": lists.numbers,
    "format": texts.formatted,
    "strftime": texts.moment_written,
    "make_timestamp": _made_timestamp,
    "to_json": lambda kinds, result, fixed: json_of(kinds[0]),
}
"""Name → the function for arguments of some types, some of them constants."""
