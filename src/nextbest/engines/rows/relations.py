"""The operators of a plan as Python functions that make rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from nextbest.engines.rows.aggregates import OF_KNOWN, Whole, aggregate
from nextbest.engines.rows.asking import Asking
from nextbest.engines.rows.expressions import Row, Rows, Value, compiled, key_value, kind_of
from nextbest.engines.rows.joins import Match, kept
from nextbest.engines.rows.sorting import sorting
from nextbest.engines.rows.types import Type, UnsupportedError, type_of

_ROWID = 2**63
"""Columns from this number on are no columns: the place of a row, or nothing at all."""


@dataclass(frozen=True)
class World:
    """What rows are made from. `outer`: the distinct rows that the subquery at work is made for; `named`: those of `with`, by number."""

    tables: Mapping[str, Rows]
    outer: Rows = field(default_factory=list)
    named: Mapping[int, Rows] = field(default_factory=dict)


Relation = Callable[[World], Rows]


def relation(node: dict[str, Any], asking: Asking) -> Relation:
    """The operator, and those below it, as a function. Raises UnsupportedError."""
    kind = node["type"]
    if kind not in _OPERATORS:
        raise UnsupportedError(f"{kind}")
    return _OPERATORS[kind](node, asking)


def _below(node: dict[str, Any], asking: Asking) -> list[Relation]:
    return [relation(child, asking) for child in node["children"]]


def _projected(values: list[Value]) -> Callable[[Rows], Rows]:
    return lambda rows: [tuple([value(row) for value in values]) for row in rows]


def _get(node: dict[str, Any], asking: Asking) -> Relation:
    if node["name"] != "seq_scan" or node["table_filters"]["filters"]:
        raise UnsupportedError(f"{node['name']} over a table")
    table, columns = node["function_data"]["table"], [each["index"] for each in node["column_indexes"]]
    if node["projection_ids"]:
        columns = [columns[place] for place in node["projection_ids"]]
    if columns == list(range(len(node["names"]))):
        return lambda world: world.tables[table]
    if any(column >= _ROWID for column in columns):
        return lambda world: [
            tuple([place if column >= _ROWID else row[column] for column in columns]) for place, row in enumerate(world.tables[table])
        ]
    return lambda world: [tuple([row[column] for column in columns]) for row in world.tables[table]]


def _dummy(node: dict[str, Any], asking: Asking) -> Relation:
    return lambda world: [(None,)]


def _empty(node: dict[str, Any], asking: Asking) -> Relation:
    return lambda world: []


def _outer(node: dict[str, Any], asking: Asking) -> Relation:
    return lambda world: world.outer


def _with(node: dict[str, Any], asking: Asking) -> Relation:
    """WITH: rows that are made once, before those that are made of them."""
    named, below = _below(node, asking)
    number = node["table_index"]
    return lambda world: below(replace(world, named={**world.named, number: named(world)}))


def _named(node: dict[str, Any], asking: Asking) -> Relation:
    number = node["cte_index"]
    return lambda world: world.named[number]


def _listed(node: dict[str, Any], asking: Asking) -> Relation:
    """VALUES: its rows, for every row below."""
    [below] = _below(node, asking)
    made = [_projected([compiled(each, asking) for each in row]) for row in node["expressions"]]
    return lambda world: [row for given in below(world) for each in made for row in each([given])]


def _projection(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    project = _projected([compiled(each, asking) for each in node["expressions"]])
    return lambda world: project(below(world))


def _filter(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    holds = [compiled(each, asking) for each in node["expressions"]]
    if node["projection_map"]:
        raise UnsupportedError("a filter that leaves columns out")
    return lambda world: [row for row in below(world) if all(value(row) for value in holds)]


def _aggregate(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    if len(node["grouping_sets"]) > 1 or node["grouping_functions"]:
        raise UnsupportedError("several sets of groups")
    keys = [key_value(each, asking) for each in node["groups"]]
    wholes = [_whole(each, asking) for each in node["expressions"]]

    def made(world: World) -> Rows:
        rows = below(world)
        if not keys:
            return [tuple([whole(rows) for whole in wholes])]
        groups: dict[Row, Rows] = {}
        for row in rows:
            groups.setdefault(tuple([key(row) for key in keys]), []).append(row)
        return [(*key, *[whole(rows) for whole in wholes]) for key, rows in groups.items()]

    return made


def _whole(node: dict[str, Any], asking: Asking) -> Whole:
    """An aggregate over a group's rows."""
    name, kinds = node["name"], [kind_of(child) for child in node["children"]]
    is_distinct = node["aggregate_type"] == "DISTINCT"
    values = [(key_value if is_distinct else compiled)(child, asking) for child in node["children"]]
    keeps = compiled(node["filter"], asking) if node.get("filter") else None
    ordered = sorting(node["order_bys"]["orders"], asking) if node.get("order_bys") else None
    if name in OF_KNOWN and len(values) == 1 and keeps is None and ordered is None and not is_distinct:
        [value], of_known = values, OF_KNOWN[name](kinds[0])
        return lambda rows: of_known([one for row in rows if (one := value(row)) is not None])
    over = aggregate(name, kinds, (node.get("function_data") or {}).get("separator", ","))

    def whole(rows: Rows) -> Any:
        if keeps is not None:
            rows = [row for row in rows if keeps(row)]
        if ordered is not None:
            rows = ordered(rows)
        given = [tuple([value(row) for value in values]) for row in rows]
        return over(list(dict.fromkeys(given)) if is_distinct else given)

    return whole


def _distinct(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    targets = [key_value(each, asking) for each in node["distinct_targets"]]
    ordered = sorting(node["order_by"]["orders"], asking) if node["order_by"] else None

    def made(world: World) -> Rows:
        rows = below(world)
        first: dict[Row, Row] = {}
        for row in ordered(rows) if ordered else rows:
            first.setdefault(tuple([target(row) for target in targets]), row)
        return list(first.values())

    return made


def _order_by(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    if node["projections"]:
        raise UnsupportedError("an order that leaves columns out")
    ordered = sorting(node["orders"], asking)
    return lambda world: ordered(below(world))


def _limit(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    bounds = [node["limit_val"], node["offset_val"]]
    if any(bound["type"] not in ("CONSTANT_VALUE", "UNSET") for bound in bounds):
        raise UnsupportedError("a limit that is no constant")
    most, skipped = (bound["constant_integer"] if bound["type"] == "CONSTANT_VALUE" else None for bound in bounds)
    start = skipped or 0
    return lambda world: below(world)[start : None if most is None else start + most]


def _union(node: dict[str, Any], asking: Asking) -> Relation:
    parts = _below(node, asking)
    if not node["setop_all"]:
        raise UnsupportedError("a union of distinct rows")
    return lambda world: [row for part in parts for row in part(world)]


def _cross(node: dict[str, Any], asking: Asking) -> Relation:
    left, right = _below(node, asking)
    return lambda world: [(*one, *other) for one, other in product(left(world), right(world))]


def _unnest(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    lists = [compiled(each["child"], asking) for each in node["expressions"]]
    if any(kind_of(each["child"]).id != "LIST" for each in node["expressions"]):
        raise UnsupportedError("unnest() of what is no list")

    def made(world: World) -> Rows:
        rows = []
        for row in below(world):
            values = [value(row) or () for value in lists]
            longest = max(map(len, values))
            rows += [(*row, *[one[place] if place < len(one) else None for one in values]) for place in range(longest)]
        return rows

    return made


def _window(node: dict[str, Any], asking: Asking) -> Relation:
    [below] = _below(node, asking)
    windows = [_one_window(each, asking) for each in node["expressions"]]

    def made(world: World) -> Rows:
        rows = below(world)
        columns = [window(rows) for window in windows]
        return [(*row, *values) for row, *values in zip(rows, *columns, strict=True)]

    return made


def _one_window(node: dict[str, Any], asking: Asking) -> Callable[[Rows], list[Any]]:
    """The values of a window's function, for every row: a number within its part, or an aggregate over the whole part."""
    parts = [key_value(each, asking) for each in node["partitions"]]
    numbers = node["type"] == "WINDOW_ROW_NUMBER"
    plain = node["exclude_clause"] == "NO_OTHER" and not node["filters"] and not node["distinct"] and not node["arg_orders"]
    plain = plain and node["start"] == "UNBOUNDED_PRECEDING" and node["end"] in ("CURRENT_ROW_RANGE", "UNBOUNDED_FOLLOWING")
    if not plain or not (numbers or (node["type"] == "WINDOW_AGGREGATE" and not node["orders"])):
        raise UnsupportedError(f"{node['type']} over a frame")
    ordered = sorting(node["orders"], asking)
    whole = None if numbers else _whole({**node, "aggregate_type": "NON_DISTINCT"}, asking)

    def values(rows: Rows) -> list[Any]:
        groups: dict[Row, Rows] = {}
        for place, row in enumerate(rows):
            groups.setdefault(tuple([part(row) for part in parts]), []).append((*row, place))
        found: list[Any] = [None] * len(rows)
        for group in groups.values():
            said = whole(group) if whole else None
            for number, (*_, place) in enumerate(ordered(group), 1):
                found[place] = said if whole else number
        return found

    return values


def _join(node: dict[str, Any], asking: Asking) -> Relation:
    left, right = _below(node, asking)
    match = Match(node, [len(kinds_of(child)) for child in node["children"]], asking)
    return lambda world: match.rows(left(world), right(world))


def _delim_join(node: dict[str, Any], asking: Asking) -> Relation:
    """A subquery that depends on the rows beside it: made once for the distinct values that it needs of them."""
    left, right = _below(node, asking)
    if node["delim_flipped"]:
        raise UnsupportedError("a subquery joined from its own side")
    needed = _projected([key_value(each, asking) for each in node["duplicate_eliminated_columns"]])
    match = Match(node, [len(kinds_of(child)) for child in node["children"]], asking)

    def made(world: World) -> Rows:
        rows = left(world)
        return match.rows(rows, right(replace(world, outer=list(dict.fromkeys(needed(rows))))))

    return made


def kinds_of(node: dict[str, Any]) -> list[Type]:
    """The types of the columns of an operator's rows. Raises UnsupportedError."""
    kind, below = node["type"], node["children"]
    if kind == "LOGICAL_GET":
        columns = [each["index"] for each in node["column_indexes"]]
        columns = [columns[place] for place in node["projection_ids"]] or columns
        return [Type("BIGINT") if column >= _ROWID else type_of(node["returned_types"][column]) for column in columns]
    if kind in ("LOGICAL_PROJECTION", "LOGICAL_WINDOW", "LOGICAL_UNNEST"):
        return [*([] if kind == "LOGICAL_PROJECTION" else kinds_of(below[0])), *map(kind_of, node["expressions"])]
    if kind == "LOGICAL_AGGREGATE_AND_GROUP_BY":
        return [kind_of(each) for each in (*node["groups"], *node["expressions"])]
    if kind in ("LOGICAL_FILTER", "LOGICAL_ORDER_BY", "LOGICAL_LIMIT", "LOGICAL_DISTINCT", "LOGICAL_UNION"):
        return kinds_of(below[0])
    if kind == "LOGICAL_MATERIALIZED_CTE":
        return kinds_of(below[1])
    if kind in ("LOGICAL_COMPARISON_JOIN", "LOGICAL_DELIM_JOIN", "LOGICAL_CROSS_PRODUCT"):
        how, (left, right) = node.get("join_type"), map(kinds_of, below)
        left = [left[place] for place in kept(node.get("left_projection_map"), len(left))]
        right = [right[place] for place in kept(node.get("right_projection_map"), len(right))]
        return [*left, *([] if how in ("SEMI", "ANTI") else [Type("BOOLEAN")] if how == "MARK" else right)]
    if kind in _SAID:
        return [type_of(each) for each in node[_SAID[kind]]]
    if kind == "LOGICAL_DUMMY_SCAN":
        return [Type("NULL")]
    raise UnsupportedError(f"the columns of {kind}")


_SAID = {
    "LOGICAL_EXPRESSION_GET": "expr_types",
    "LOGICAL_DELIM_GET": "chunk_types",
    "LOGICAL_CTE_REF": "chunk_types",
    "LOGICAL_EMPTY_RESULT": "return_types",
}
_OPERATORS: dict[str, Callable[[dict[str, Any], Asking], Relation]] = {
    "LOGICAL_GET": _get,
    "LOGICAL_DUMMY_SCAN": _dummy,
    "LOGICAL_EMPTY_RESULT": _empty,
    "LOGICAL_DELIM_GET": _outer,
    "LOGICAL_MATERIALIZED_CTE": _with,
    "LOGICAL_CTE_REF": _named,
    "LOGICAL_EXPRESSION_GET": _listed,
    "LOGICAL_PROJECTION": _projection,
    "LOGICAL_FILTER": _filter,
    "LOGICAL_AGGREGATE_AND_GROUP_BY": _aggregate,
    "LOGICAL_DISTINCT": _distinct,
    "LOGICAL_ORDER_BY": _order_by,
    "LOGICAL_LIMIT": _limit,
    "LOGICAL_UNION": _union,
    "LOGICAL_CROSS_PRODUCT": _cross,
    "LOGICAL_UNNEST": _unnest,
    "LOGICAL_WINDOW": _window,
    "LOGICAL_COMPARISON_JOIN": _join,
    "LOGICAL_DELIM_JOIN": _delim_join,
}
