"""DuckDB's plans, in the one form that rows know: that of DuckDB 1. DuckDB 2 writes comparisons
and casts as functions, names as paths, and a lambda twice.
"""

import json
import re
from typing import Any

import duckdb

from nextbest.engines.rows.types import UnsupportedError

Node = dict[str, Any]


def plan_of(connection: duckdb.DuckDBPyConnection, select: str) -> Node:
    """The plan of a select, optimised. Raises UnsupportedError where DuckDB has none that can be written."""
    whole = f"select * {select}" if select.startswith("from ") else select
    [(said,)] = connection.execute("select json_serialize_plan(?, optimize := true)", [whole]).fetchall()
    found = json.loads(re.sub(r'"value":-?NAN\b', '"value":NaN', said))  # as DuckDB 2 writes it, Python does not read it
    if found["error"]:
        raise UnsupportedError(f"a select without a plan ({found.get('error_type')})")
    [root] = found["plans"]
    plan: Node = _plain(root)
    return plan


def _plain(said: Any) -> Any:
    if isinstance(said, list):
        return [_plain(each) for each in said]
    if not isinstance(said, dict):
        return said
    node = {name: _plain(each) for name, each in said.items()}
    if "qname" in node:
        node["name"] = node["qname"]["path"][-1]
        node["children"] = [each for each in node["children"] if each.get("expression_class") != "BOUND_LAMBDA"]  # it stands in the data
    if node.get("expression_class") == "BOUND_FUNCTION" and node["type"] != "BOUND_FUNCTION":
        return _as_own_class(node)
    return node


def _as_own_class(node: Node) -> Node:
    """A comparison or cast that DuckDB 2 writes as a function."""
    kind, children = node["type"], node["children"]
    if kind == "OPERATOR_CAST":
        return {**node, "expression_class": "BOUND_CAST", "child": children[0], "try_cast": node["function_data"]["try_cast"]}
    if kind == "COMPARE_BETWEEN":
        ends = {name: node["function_data"][name] for name in ("lower_inclusive", "upper_inclusive")}
        return {**node, "expression_class": "BOUND_BETWEEN", **dict(zip(("input", "lower", "upper"), children, strict=True)), **ends}
    if kind.startswith("COMPARE_"):
        left, right = children
        return {**node, "expression_class": "BOUND_COMPARISON", "left": left, "right": right}
    raise UnsupportedError(f"{kind} as a function")
