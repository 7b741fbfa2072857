"""JSON of typed values, as DuckDB writes it."""

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from nextbest.engines.rows.types import FLOATING, WHOLE, Type, UnsupportedError, written

_CONTROL = re.compile("([\x00-\x07\x0b\x0e-\x1f])")
"""What has no short name in JSON."""
Text = Callable[[Any], str]


def json_of(kind: Type) -> Text:
    """A function from a value, which may be null, to its JSON."""
    text = _known(kind)
    return lambda value: "null" if value is None else text(value)


def _known(kind: Type) -> Text:
    if kind.id in FLOATING:
        return number
    if kind.id == "DECIMAL":
        if not kind.scale:
            raise UnsupportedError("JSON of a decimal without digits after the point")
        return written
    if kind.id == "BOOLEAN" or kind.id in WHOLE:
        return written
    if kind.id == "LIST":
        item = json_of(kind.of[0])
        return lambda values: f"[{','.join([item(value) for value in values])}]"
    if kind.id == "STRUCT":
        members = [(f"{quoted(name)}:", json_of(of)) for name, of in zip(kind.names, kind.of, strict=True)]
        return lambda values: "{" + ",".join([name + of(value) for (name, of), value in zip(members, values, strict=True)]) + "}"
    if kind.id == "MAP":
        item, key = json_of(kind.of[1]), kind.of[0]
        name = quoted if key.id == "VARCHAR" else lambda one: quoted(written(one))
        return lambda pairs: "{" + ",".join([f"{name(one)}:{item(value)}" for one, value in pairs]) + "}"
    if kind.is_json:
        return lambda value: str(value)
    return lambda value: quoted(written(value))


def quoted(text: str) -> str:
    """A text in JSON."""
    told = json.dumps(text, ensure_ascii=False)
    if not _CONTROL.search(text):
        return told
    return '"' + "".join([f"\\u{ord(part):04X}" if _CONTROL.fullmatch(part) else json.dumps(part, ensure_ascii=False)[1:-1]
                          for part in _CONTROL.split(text)]) + '"'  # fmt: skip


def number(value: float) -> str:
    """The shortest digits that say the number, with an exponent from 1e21 on and below 1e-6."""
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    size = abs(value)
    if size == 0 or 1e-4 <= size < 1e16:
        return repr(value)
    if 1e-6 <= size < 1e21:
        plain = format(Decimal(repr(value)), "f")
        return plain if "." in plain else f"{plain}.0"
    digits, _, exponent = repr(value).partition("e")
    return f"{digits}e{int(exponent)}"
