"""Casts from one type to another. Texts of an unusual form are left to DuckDB."""

import re
import struct
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from nextbest.engines.rows.asking import Asking
from nextbest.engines.rows.types import FLOATING, LARGEST, WHOLE, Type, UnsupportedError, decimal_of, rescaled, written

Cast = Callable[[Any], Any]

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_DIGITS = re.compile(r"-?[0-9]{1,9}")
_DAY = re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]")
_MOMENT = re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9][T ][012][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{3}|\.[0-9]{6})?Z?")
_LARGEST_SINGLE = 3.4e38
_AS_WRITTEN = WHOLE | {"BOOLEAN", "DECIMAL", "DATE", "ENUM"}


def cast_of(source: Type, target: Type, is_try: bool, asking: Asking) -> Cast | None:
    """A function from values of one type to another, None where they are held alike. Raises UnsupportedError."""
    if source.id == "NULL" or source == target or (source.id in WHOLE - {"UHUGEINT"} and target.id == "HUGEINT"):
        return None
    if source.id == "BOOLEAN" and target.id in WHOLE:
        return int
    if source.id in WHOLE and target.id in LARGEST:
        known = source.id in LARGEST and LARGEST[source.id] <= LARGEST[target.id]
        return None if known else _within(LARGEST[target.id], asking.cast(source, target, is_try))
    if source.id == "LIST" and target.id == "LIST":
        return _each(cast_of(source.of[0], target.of[0], is_try, asking))
    if source.id == "STRUCT" and target.id == "STRUCT" and len(source.of) == len(target.of):
        return _members(source, target, is_try, asking)
    if source.id in WHOLE | FLOATING | {"DECIMAL"} and target.id in FLOATING | {"DECIMAL"}:
        return _number(source, target, asking.cast(source, target, is_try))
    if source.id in FLOATING and target.id in WHOLE:
        return _rounded(target, asking.cast(source, target, is_try))
    if target.id == "VARCHAR" and not target.is_json:
        if source.id == "VARCHAR" or source.id == "ENUM":
            return None
        return written if source.id in _AS_WRITTEN else asking.cast(source, target, is_try)
    if source.id == "DATE" and target.id == "TIMESTAMP":
        return lambda value: datetime(value.year, value.month, value.day)
    if source.id == "TIMESTAMP" and target.id == "DATE":
        return datetime.date
    if source.id == "VARCHAR":
        return _parsed(target, asking.cast(source, target, is_try))
    if {"LIST", "STRUCT", "MAP"} & {source.id, target.id}:
        raise UnsupportedError(f"a cast from {source.id} to {target.id}")
    return asking.cast(source, target, is_try)


def _within(limit: int, other: Cast) -> Cast:
    return lambda value: value if -limit <= value < limit else other(value)


def _each(item: Cast | None) -> Cast | None:
    return item and (lambda values: tuple(None if one is None else item(one) for one in values))


def _members(source: Type, target: Type, is_try: bool, asking: Asking) -> Cast | None:
    casts = []
    for place, (name, kind) in enumerate(zip(target.names, target.of, strict=True)):
        if name.lower() not in (known := [each.lower() for each in source.names]):
            raise UnsupportedError("a cast between structs of other members")
        old = known.index(name.lower())
        casts.append((old, cast_of(source.of[old], kind, is_try, asking), place))
    if all(cast is None and old == place for old, cast, place in casts):
        return None
    return lambda values: tuple(values[old] if cast is None or values[old] is None else cast(values[old]) for old, cast, _ in casts)


def _number(source: Type, target: Type, other: Cast) -> Cast | None:
    if target.id == "DOUBLE" and source.id == "DECIMAL":
        exact = Decimal(2**53).scaleb(-source.scale)  # up to here one division does it
        return lambda value: float(value) if -exact < value < exact else other(value)
    if target.id == "DOUBLE":
        return None if source.id == "FLOAT" else float
    if target.id == "FLOAT":
        return _single(other) if source.id == "DOUBLE" else other
    scale, limit = target.scale, 10 ** (target.width - target.scale)
    if source.id in FLOATING:

        def of_float(value: float) -> Decimal | None:
            found = decimal_of(value, scale)
            return other(value) if found is None or abs(found) >= limit else found

        return of_float
    if source.id == "DECIMAL" and scale >= source.scale and target.width - scale >= source.width - source.scale:
        return lambda value: rescaled(value, scale)

    def of_exact(value: int | Decimal) -> Decimal | None:
        found = rescaled(Decimal(value), scale)
        return other(value) if abs(found) >= limit else found

    return of_exact


def _single(other: Cast) -> Cast:
    """The nearest number of single precision; what is too large for it is DuckDB's to refuse."""

    def nearest(value: float) -> Any:
        return struct.unpack("f", struct.pack("f", value))[0] if abs(value) < _LARGEST_SINGLE or value != value else other(value)

    return nearest


def _rounded(target: Type, other: Cast) -> Cast:
    """Half to even, as C's nearbyint(); what does not fit is DuckDB's to refuse."""
    if target.id not in ("INTEGER", "BIGINT"):
        return other
    limit = 2**31 if target.id == "INTEGER" else 2**53
    return lambda value: round(value) if -limit < value < limit else other(value)


def _parsed(target: Type, other: Cast) -> Cast:
    """What a text says, where it says it plainly; else what DuckDB reads in it."""
    if target.id in ("INTEGER", "BIGINT"):
        return lambda value: int(value) if _DIGITS.fullmatch(value) else other(value)
    if target.id == "DOUBLE":
        return lambda value: float(value) if _NUMBER.fullmatch(value) else other(value)
    if target.id == "DECIMAL" and target.width >= 18:
        scale = target.scale
        most = target.width - scale

        def amount(value: str) -> Any:
            plain = _NUMBER.fullmatch(value) and len(value.partition(".")[0]) < most
            return rescaled(Decimal(value), scale) if plain else other(value)

        return amount
    if target.id == "ENUM":
        labels = frozenset(target.labels)
        return lambda value: value if value in labels else other(value)
    if target.id == "BOOLEAN":
        return lambda value: True if value == "true" else False if value == "false" else other(value)
    if target.id == "DATE":
        return lambda value: _or(other, date.fromisoformat, value) if _DAY.fullmatch(value) else other(value)
    if target.id == "TIMESTAMP":
        return lambda value: _or(other, _moment, value) if _DAY.fullmatch(value) or _MOMENT.fullmatch(value) else other(value)
    return other


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value.removesuffix("Z"))


def _or(other: Cast, plain: Callable[[str], Any], value: str) -> Any:
    try:
        return plain(value)
    except ValueError:  # 30 February
        return other(value)
