"""Expressions of a plan as Python functions of a row. What is null follows SQL: unknown, until something makes it known."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from nextbest.engines.rows.aggregates import aggregate
from nextbest.engines.rows.asking import Asking
from nextbest.engines.rows.casts import cast_of
from nextbest.engines.rows.functions import WITH_NULLS, strict
from nextbest.engines.rows.lists import with_lambda
from nextbest.engines.rows.types import FLOATING, Type, UnsupportedError, constant_of, key_of, order, order_with_nulls, type_of

Row = tuple[Any, ...]
Rows = list[Row]
Value = Callable[[Row], Any]
"""The value of an expression for a row."""

_ORDERS = {"COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO"}
_PLAIN = {"VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT", "DECIMAL"}


def kind_of(node: dict[str, Any]) -> Type:
    """The type of an expression's value."""
    if node["expression_class"] == "BOUND_CONSTANT":
        return type_of(node["value"]["type"])
    if node["expression_class"] in ("BOUND_COMPARISON", "BOUND_CONJUNCTION", "BOUND_BETWEEN"):
        return Type("BOOLEAN")
    return type_of(node["return_type"])


def compiled(node: dict[str, Any], asking: Asking) -> Value:
    """The expression as a function of a row. Raises UnsupportedError."""
    kind = node["expression_class"]
    if kind not in _CLASSES:
        raise UnsupportedError(f"expressions of class {kind}")
    return _CLASSES[kind](node, asking)


def key_value(node: dict[str, Any], asking: Asking) -> Value:
    """An expression's value as a key by which rows are told apart. Raises UnsupportedError."""
    value, key = compiled(node, asking), key_of(kind_of(node))
    return (lambda row: key(value(row))) if key else value


def _is_constant(node: dict[str, Any]) -> bool:
    return bool(node["expression_class"] == "BOUND_CONSTANT")


def constant(value: Any) -> Value:
    """The same value for every row."""
    return lambda row: value


def _constant(node: dict[str, Any], asking: Asking) -> Value:
    return constant(constant_of(node["value"]))


def _reference(node: dict[str, Any], asking: Asking) -> Value:
    return itemgetter(node["index"])


def _case(node: dict[str, Any], asking: Asking) -> Value:
    checks = [(compiled(check["when_expr"], asking), compiled(check["then_expr"], asking)) for check in node["case_checks"]]
    otherwise = compiled(node["else_expr"], asking)
    if len(checks) == 1:
        [(when, then)] = checks
        return lambda row: then(row) if when(row) else otherwise(row)

    def value(row: Row) -> Any:
        for when, then in checks:
            if when(row):
                return then(row)
        return otherwise(row)

    return value


def _conjunction(node: dict[str, Any], asking: Asking) -> Value:
    children = [compiled(child, asking) for child in node["children"]]
    decides = node["type"] == "CONJUNCTION_OR"  # the value that settles it, whatever else is unknown

    def value(row: Row) -> Any:
        said: bool | None = not decides
        for child in children:
            one = child(row)
            if one is decides:
                return decides
            if one is None:
                said = None
        return said

    return value


def comparison(how: str, kind: Type) -> Callable[[Any, Any], Any]:
    """Compares two values of a type: true, false or unknown. NaN equals itself and is above every number. Raises UnsupportedError."""
    if kind.id == "INTERVAL":
        raise UnsupportedError("a comparison of intervals")
    if kind.of:  # within what is nested, nulls are equal, and NaNs
        deep, plain = order_with_nulls(kind), comparison(how, Type("VARCHAR"))
        if "DISTINCT" in how:
            return lambda a, b: plain(deep(a), deep(b))
        return lambda a, b: None if a is None or b is None else plain(deep(a), deep(b))
    if how in ("COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM"):
        same = how == "COMPARE_NOT_DISTINCT_FROM"
        return lambda a, b: (a == b or (a != a and b != b)) is same
    if how == "COMPARE_EQUAL":
        if kind.id in FLOATING:
            return lambda a, b: None if a is None or b is None else a == b or (a != a and b != b)
        return lambda a, b: None if a is None or b is None else a == b
    if how == "COMPARE_NOTEQUAL":
        if kind.id in FLOATING:
            return lambda a, b: None if a is None or b is None else not (a == b or (a != a and b != b))
        return lambda a, b: None if a is None or b is None else a != b
    if how not in _ORDERS:
        raise UnsupportedError(f"{how}")
    turned, or_equal = "GREATER" in how, how.endswith("OREQUALTO")
    if kind.id in FLOATING:
        below = _float_below_or_equal if or_equal else _float_below
        return (lambda a, b: below(b, a)) if turned else below
    if kind.id in _PLAIN:
        if turned:
            if or_equal:
                return lambda a, b: None if a is None or b is None else a >= b
            return lambda a, b: None if a is None or b is None else a > b
        if or_equal:
            return lambda a, b: None if a is None or b is None else a <= b
        return lambda a, b: None if a is None or b is None else a < b
    key = order(kind)
    plain = comparison(how, Type("VARCHAR"))
    return lambda a, b: None if a is None or b is None else plain(key(a), key(b))


def _float_below(a: float | None, b: float | None) -> bool | None:
    return None if a is None or b is None else a < b or (b != b and a == a)


def _float_below_or_equal(a: float | None, b: float | None) -> bool | None:
    return None if a is None or b is None else a <= b or b != b


def _comparison(node: dict[str, Any], asking: Asking) -> Value:
    left, right = compiled(node["left"], asking), compiled(node["right"], asking)
    compare = comparison(node["type"], kind_of(node["left"]))
    if _is_constant(node["right"]):
        fixed = right(())
        return lambda row: compare(left(row), fixed)
    return lambda row: compare(left(row), right(row))


def _between(node: dict[str, Any], asking: Asking) -> Value:
    value, low, high = (compiled(node[name], asking) for name in ("input", "lower", "upper"))
    kind = kind_of(node["input"])
    above = comparison("COMPARE_GREATERTHANOREQUALTO" if node["lower_inclusive"] else "COMPARE_GREATERTHAN", kind)
    below = comparison("COMPARE_LESSTHANOREQUALTO" if node["upper_inclusive"] else "COMPARE_LESSTHAN", kind)

    def within(row: Row) -> Any:
        one = value(row)
        said = above(one, low(row)), below(one, high(row))
        return False if False in said else None if None in said else True

    return within


def _operator(node: dict[str, Any], asking: Asking) -> Value:
    how, children = node["type"], [compiled(child, asking) for child in node["children"]]
    first = children[0]
    if how == "OPERATOR_NOT":
        return lambda row: None if (one := first(row)) is None else not one
    if how == "OPERATOR_IS_NULL":
        return lambda row: first(row) is None
    if how == "OPERATOR_IS_NOT_NULL":
        return lambda row: first(row) is not None
    if how == "OPERATOR_COALESCE":
        return _coalesce(children)
    if how in ("COMPARE_IN", "COMPARE_NOT_IN"):
        return _among(first, children[1:], how == "COMPARE_IN", comparison("COMPARE_EQUAL", kind_of(node["children"][0])))
    raise UnsupportedError(f"{how}")


def _coalesce(children: list[Value]) -> Value:
    if len(children) == 2:
        first, second = children
        return lambda row: second(row) if (one := first(row)) is None else one

    def value(row: Row) -> Any:
        for child in children:
            one = child(row)
            if one is not None:
                return one
        return None

    return value


def _among(first: Value, others: list[Value], inside: bool, equal: Callable[[Any, Any], Any]) -> Value:
    def value(row: Row) -> Any:
        one, unknown = first(row), False
        for other in others:
            same = equal(one, other(row))
            if same:
                return inside
            unknown = unknown or same is None
        return None if unknown else not inside

    return value


def _cast(node: dict[str, Any], asking: Asking) -> Value:
    child, source, target = compiled(node["child"], asking), kind_of(node["child"]), type_of(node["return_type"])
    cast = cast_of(source, target, bool(node["try_cast"]), asking)
    if cast is None:
        return child
    value = _strictly(cast, [child])
    return constant(value(())) if _is_constant(node["child"]) else value


def _function(node: dict[str, Any], asking: Asking) -> Value:
    name, result = node["name"], type_of(node["return_type"])
    children = [compiled(child, asking) for child in node["children"]]
    kinds = [kind_of(child) for child in node["children"]]
    data = node.get("function_data") or {}
    if data.get("lambda_expr"):
        return with_lambda(name, children, compiled(data["lambda_expr"], asking), bool(data["has_index"]))
    if name in ("list_aggr", "list_aggregate", "aggregate"):
        return _over_items(children[0], data["bind_data"]["aggr_expr"])
    if name in WITH_NULLS:
        function = WITH_NULLS[name](kinds)
        return lambda row: function(*[child(row) for child in children])
    if not children:
        raise UnsupportedError(f"{name}() without arguments: it may not be the same each time")
    fixed = [child(()) if _is_constant(of) else None for child, of in zip(children, node["children"], strict=True)]
    native = strict(name, kinds, result, fixed)
    if native:
        return _strictly(native, children)
    asked = asking.function(name, kinds, result, bool(node["is_operator"]))  # which knows what null makes of it
    return lambda row: asked(*[child(row) for child in children])


def _over_items(items: Value, node: dict[str, Any]) -> Value:
    """An aggregate over the items of a list."""
    separator = (node.get("function_data") or {}).get("separator", ",")
    whole = aggregate(node["name"], [kind_of(each) for each in node["children"]], separator)
    return lambda row: None if (values := items(row)) is None else whole([(value,) for value in values])


def _strictly(function: Callable[..., Any], children: list[Value]) -> Value:
    """Null where any argument is null."""
    if len(children) == 1:
        [only] = children
        return lambda row: None if (one := only(row)) is None else function(one)
    if len(children) == 2:
        first, second = children
        return lambda row: None if (one := first(row)) is None or (two := second(row)) is None else function(one, two)

    def value(row: Row) -> Any:
        values = [child(row) for child in children]
        return None if None in values else function(*values)

    return value


_CLASSES: dict[str, Callable[[dict[str, Any], Asking], Value]] = {
    "BOUND_CONSTANT": _constant,
    "BOUND_REF": _reference,
    "BOUND_CASE": _case,
    "BOUND_CONJUNCTION": _conjunction,
    "BOUND_COMPARISON": _comparison,
    "BOUND_BETWEEN": _between,
    "BOUND_OPERATOR": _operator,
    "BOUND_CAST": _cast,
    "BOUND_FUNCTION": _function,
}
