"""A plain Python evaluator of rules: the oracle that engines are tested against, and the explainer's pencil.

It walks the bound tree over one row (a dict of column → value) with SQL's three-valued logic. It is slow on
purpose: one row, no tricks. Batches never pass through here.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp

from nextbest.rules.functions import FUNCTIONS, divide
from nextbest.rules.parse import Rule

Row = Mapping[str, Any]

_COMPARE: dict[type[exp.Expr], Callable[[Any, Any], bool]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
}
_ARITHMETIC: dict[type[exp.Expr], Callable[[Any, Any], Any]] = {
    exp.Add: lambda a, b: a + b,
    exp.Sub: lambda a, b: a - b,
    exp.Mul: lambda a, b: a * b,
    exp.Mod: lambda a, b: math.fmod(a, b) if b else None,
}


def evaluate(rule: Rule, row: Row) -> Any:
    """The rule's value on one row; None is SQL's NULL."""
    return value(rule.tree, row)


def value(node: exp.Expr, row: Row) -> Any:
    """The value of one node of a bound tree."""
    match node:
        case exp.Column():
            return row[node.name]
        case exp.Literal():
            return node.name if node.is_string else float(node.name)
        case exp.Boolean():
            return bool(node.this)
        case exp.Null():
            return None
        case exp.Paren():
            return value(node.this, row)
        case exp.Neg():
            inner = value(node.this, row)
            return None if inner is None else -inner
        case exp.Not():
            inner = value(node.this, row)
            return None if inner is None else not inner
        case exp.And():
            return _both(value(node.this, row), value(node.expression, row))
        case exp.Or():
            return _either(value(node.this, row), value(node.expression, row))
        case exp.Div():
            return divide(value(node.this, row), value(node.expression, row))
        case exp.Between():
            inner, low, high = (value(node.args[part], row) for part in ("this", "low", "high"))
            return _both(_known(_COMPARE[exp.GTE], inner, low), _known(_COMPARE[exp.LTE], inner, high))
        case exp.In():
            return _is_in(value(node.this, row), [value(item, row) for item in node.expressions])
        case exp.Is():
            left, right = value(node.this, row), value(node.expression, row)
            return left is right if right is None else left == right
        case exp.Case():
            return _case(node, row)
        case exp.Anonymous():
            return _call(node, row)
    if type(node) in _COMPARE:
        return _known(_COMPARE[type(node)], value(node.this, row), value(node.expression, row))
    return _known(_ARITHMETIC[type(node)], value(node.this, row), value(node.expression, row))


def _known(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    return None if left is None or right is None else operation(left, right)


def _both(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def _either(left: bool | None, right: bool | None) -> bool | None:
    if left is True or right is True:
        return True
    return None if left is None or right is None else False


def _is_in(item: Any, among: list[Any]) -> bool | None:
    if item is None:
        return None
    return True if item in among else (None if None in among else False)


def _case(node: exp.Case, row: Row) -> Any:
    subject = node.args.get("this")
    for branch in node.args["ifs"]:
        test = value(branch.this, row)
        if subject is not None:
            test = _known(_COMPARE[exp.EQ], value(subject, row), test)
        if test:
            return value(branch.args["true"], row)
    default = node.args.get("default")
    return None if default is None else value(default, row)


def _call(node: exp.Anonymous, row: Row) -> Any:
    name = node.name.lower()
    if name in ("top_sum", "top_key"):
        place, *cells = node.expressions
        named = {c.name[c.name.index("[") + 1 : -1]: row[c.name] for c in cells}
        return FUNCTIONS[name].python(named, value(place, row))
    return FUNCTIONS[name].python(*(value(argument, row) for argument in node.expressions))
