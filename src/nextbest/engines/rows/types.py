"""The types of a plan's values, and how Python holds such values.

DOUBLE is a float, whole numbers are an int, DECIMAL is a Decimal, text and ENUM are a str, a LIST and a STRUCT are a tuple (a struct's
by place), a MAP is a tuple of pairs, days and moments are a date and a datetime without a zone. An INTERVAL is a text that
only DuckDB reads. NULL is None.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import duckdb

from nextbest.plan.stage import quote, text

DUCKDB_1 = duckdb.__version__.startswith("1.")
"""DuckDB 2 answers a few questions otherwise."""

EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
"""Decimals have up to 38 digits, and a product of two twice as many."""

WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"})
LARGEST = {"TINYINT": 2**7, "SMALLINT": 2**15, "INTEGER": 2**31, "BIGINT": 2**63, "HUGEINT": 2**127}
FLOATING = frozenset({"DOUBLE", "FLOAT"})
_SCALARS = WHOLE | FLOATING | {"BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "INTERVAL", "NULL"}
EPOCH = datetime(1970, 1, 1)
_NO_FRACTION = 2.0**52
_EXACT_PRODUCT = Context(prec=1200)
_STEPS = [Decimal(1).scaleb(-scale) for scale in range(39)]


class UnsupportedError(Exception):
    """The plan, or a value on its way through it, is beyond rows: another engine must run it. `always`: whoever the customer is."""

    def __init__(self, what: str, always: bool = True):
        super().__init__(what)
        self.always = always


@dataclass(frozen=True)
class Type:
    """A type of DuckDB's. `names`: of a struct's members; `of`: their types, or those of a list's items, or a map's keys and values."""

    id: str
    width: int = 0
    scale: int = 0
    names: tuple[str, ...] = ()
    of: tuple["Type", ...] = ()
    labels: tuple[str, ...] = ()
    is_json: bool = False

    @property
    def sql(self) -> str:
        """The type as SQL names it."""
        if self.id == "DECIMAL":
            return f"DECIMAL({self.width},{self.scale})"
        if self.id == "LIST":
            return f"{self.of[0].sql}[]"
        if self.id == "STRUCT":
            return f"STRUCT({', '.join(f'{quote(name)} {kind.sql}' for name, kind in zip(self.names, self.of, strict=True))})"
        if self.id == "MAP":
            return f"MAP({self.of[0].sql}, {self.of[1].sql})"
        if self.id == "ENUM":
            return f"ENUM({', '.join(map(text, self.labels))})"
        return "JSON" if self.is_json else "INTEGER" if self.id == "NULL" else self.id


def type_of(said: dict[str, Any]) -> Type:
    """A type as a plan says it. Raises UnsupportedError."""
    kind, more = said["id"], said.get("type_info") or {}
    if kind in _SCALARS:
        return Type(kind, is_json=more.get("alias") == "JSON")
    if kind == "DECIMAL":
        return Type(kind, width=more["width"], scale=more["scale"])
    if kind == "LIST":
        return Type(kind, of=(type_of(more["child_type"]),))
    if kind == "STRUCT":
        members = more["child_types"]
        if not all(each["first"] for each in members):
            raise UnsupportedError("a struct whose members have no names")
        return Type(kind, names=tuple(each["first"] for each in members), of=tuple(type_of(each["second"]) for each in members))
    if kind == "MAP":
        return Type(kind, of=type_of(more["child_type"]).of)
    if kind == "ENUM":
        return Type(kind, labels=tuple(more["values"]))
    raise UnsupportedError(f"values of type {kind}")


def constant_of(said: dict[str, Any], within: Type | None = None) -> Any:
    """A constant's value as a plan says it. `within`: its type, where what it stands in has said it."""
    kind = within or type_of(said["type"])
    if said["is_null"]:
        return None
    value = said["value"]
    if kind.id == "DECIMAL":
        return Decimal(_whole(value)).scaleb(-kind.scale, EXACT)
    if kind.id in ("LIST", "STRUCT", "MAP"):
        items = value.get("children") or ()
        return tuple(constant_of(each, of) for each, of in zip(items, _kinds_within(kind, len(items)), strict=True))
    if kind.id == "DATE":
        return (EPOCH + timedelta(days=value)).date()
    if kind.id == "TIMESTAMP":
        return EPOCH + timedelta(microseconds=value)
    if kind.id == "ENUM":
        return kind.labels[value] if isinstance(value, int) else value
    if kind.id == "INTERVAL":
        return f"{value['months']} months {value['days']} days {value['micros']} microseconds"
    return _whole(value) if kind.id in WHOLE else float(value) if kind.id in FLOATING else value


def _kinds_within(kind: Type, items: int) -> tuple[Type, ...]:
    """The types of what a nested value is made of."""
    if kind.id == "STRUCT":
        return kind.of
    return (kind.of[0] if kind.id == "LIST" else Type("STRUCT", names=("key", "value"), of=kind.of),) * items


def _whole(value: Any) -> int:
    return (int(value["upper"]) << 64) + int(value["lower"]) if isinstance(value, dict) else int(value)


def held(value: Any, kind: Type) -> Any:
    """A value of DuckDB's Python client as rows hold it."""
    if value is None:
        return None
    if kind.id == "INTERVAL":
        raise UnsupportedError("an interval that is computed")
    if kind.id in ("DATE", "TIMESTAMP") and isinstance(value, str):  # before the year 1, or after 9999
        raise UnsupportedError("a day that Python does not know", always=False)
    if kind.id == "LIST":
        return tuple(held(each, kind.of[0]) for each in value)
    if kind.id == "STRUCT":
        return tuple(held(value[name], of) for name, of in zip(kind.names, kind.of, strict=True))
    if kind.id == "MAP":
        return tuple((held(key, kind.of[0]), held(each, kind.of[1])) for key, each in value.items())
    return value


def given(value: Any, kind: Type) -> Any:
    """A value that rows hold as DuckDB's Python client and Arrow take it."""
    if value is None:
        return None
    if kind.id == "LIST":
        return [given(each, kind.of[0]) for each in value]
    if kind.id == "STRUCT":
        return {name: given(each, of) for name, each, of in zip(kind.names, value, kind.of, strict=True)}
    if kind.id == "MAP":
        return {given(key, kind.of[0]): given(each, kind.of[1]) for key, each in value}
    return value


def order(kind: Type) -> Callable[[Any], Any]:
    """The key by which DuckDB orders values that are not null: NaN after every number, an ENUM by its labels' places."""
    if kind.id in FLOATING:
        return lambda value: (value != value, 0.0 if value != value else value)
    if kind.id == "ENUM":
        places = {label: place for place, label in enumerate(kind.labels)}
        return lambda value: places[value]
    if kind.id == "STRUCT":
        keys = [order_with_nulls(of) for of in kind.of]
        return lambda value: tuple(key(each) for key, each in zip(keys, value, strict=True))
    if kind.id in ("LIST", "MAP"):
        item = order_with_nulls(kind.of[0] if kind.id == "LIST" else Type("STRUCT", of=kind.of))
        return lambda value: tuple(item(each) for each in value)
    if kind.id == "INTERVAL":
        raise UnsupportedError("an order of intervals")
    return lambda value: value


NAN = math.nan


def key_of(kind: Type) -> Callable[[Any], Any] | None:
    """What makes a value of the type fit to be a key, None where every value is: every NaN becomes the same one."""
    if kind.id in FLOATING:
        return lambda value: NAN if value != value else value
    if kind.of and any(key_of(of) for of in kind.of):
        if kind.id == "STRUCT":
            members = [key_of(of) or (lambda value: value) for of in kind.of]
            return lambda value: value and tuple(key(each) for key, each in zip(members, value, strict=True))
        raise UnsupportedError("a list of floating numbers as a key")
    return None


def order_with_nulls(kind: Type) -> Callable[[Any], Any]:
    """Like `order`, for values that may be null: they stand last."""
    key = order(kind)
    return lambda value: (True, None) if value is None else (False, key(value))


def rounded(value: float) -> float:
    """Half away from zero, as C's round()."""
    if not math.isfinite(value):
        return value
    size = abs(value)
    below = math.floor(size)
    return math.copysign(float(below + 1 if size - below >= 0.5 else below), value)


def rounded_to(value: float, digits: int) -> float:
    """So many digits after the point, half away from zero; below 0, before it."""
    if not math.isfinite(value) and not DUCKDB_1:
        return value
    unit = 10.0 ** abs(digits)
    if digits < 0:
        found = rounded(value / unit) * unit
        return found if math.isfinite(found) else 0.0 if DUCKDB_1 else value
    steps = value * unit
    if abs(steps) < _NO_FRACTION and not DUCKDB_1:  # 2.675 is a little less than that, and its product is not
        return float(_EXACT_PRODUCT.multiply(Decimal(value), Decimal(unit)).to_integral_value(ROUND_HALF_UP)) / unit
    found = rounded(steps) / unit
    return found if math.isfinite(found) else value


def decimal_of(value: float, scale: int) -> Decimal | None:
    """A floating number as a decimal, None where it is none or has more digits than a decimal may have."""
    steps = value * 10.0**scale
    return Decimal(int(rounded(steps))).scaleb(-scale, EXACT) if abs(steps) < 1e38 else None


def rescaled(value: Decimal, scale: int) -> Decimal:
    """A decimal with so many digits after the point, half away from zero."""
    return EXACT.plus(value.quantize(_STEPS[scale], context=EXACT))  # which has no zero below zero


def written(value: Any) -> str:
    """A scalar as text, for kinds whose text is the same in Python as in DuckDB."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(" ").rstrip("0") if value.microsecond else value.isoformat(" ")
    return str(value)
