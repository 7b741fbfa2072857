"""Orders of rows: the last key first, each sort leaving equal rows as they stood."""

from collections.abc import Callable
from typing import Any

from nextbest.engines.rows.asking import Asking
from nextbest.engines.rows.expressions import Row, compiled, kind_of
from nextbest.engines.rows.types import order


def sorting(orders: list[dict[str, Any]], asking: Asking) -> Callable[[list[Row]], list[Row]]:
    """Rows by these orders. Raises UnsupportedError."""
    keys = [
        (compiled(each["expression"], asking), order(kind_of(each["expression"])), each["type"] == "DESCENDING", each["null_order"])
        for each in reversed(orders)
    ]

    def ordered(rows: list[Row]) -> list[Row]:
        if len(rows) < 2:
            return rows
        for value, key, reverse, nulls in keys:
            known = [(key(one), row) for row in rows if (one := value(row)) is not None]
            unknown = [row for row in rows if value(row) is None]
            known.sort(key=lambda pair: pair[0], reverse=reverse)
            told = [row for _, row in known]
            rows = unknown + told if nulls == "NULLS FIRST" else told + unknown
        return rows

    return ordered
