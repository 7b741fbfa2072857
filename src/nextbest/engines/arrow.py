"""What Arrow's types are called in SQL."""

from functools import lru_cache

import pyarrow as pa

_KINDS = {
    pa.string(): "varchar",
    pa.large_string(): "varchar",
    pa.int64(): "bigint",
    pa.uint64(): "ubigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.timestamp("us"): "timestamp",
}


@lru_cache(maxsize=256)
def kinds_of(schema: pa.Schema) -> dict[str, str] | None:
    """Column → its type; None where some column is of a kind that no stage needs of one customer."""
    found = {field.name: _kind_of(field.type) for field in schema}
    return {name: kind for name, kind in found.items() if kind} if all(found.values()) else None


def _kind_of(kind: pa.DataType) -> str | None:
    if pa.types.is_list(kind):
        inner = _kind_of(kind.value_type)
        return inner and f"{inner}[]"
    return _KINDS.get(kind)
