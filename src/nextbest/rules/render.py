"""From a bound rule to SQL for the engine in use."""

from sqlglot import exp, parse_one

from nextbest.rules.functions import FUNCTIONS
from nextbest.rules.parse import Rule


def tree(rule: Rule) -> exp.Expr:
    """The rule's tree with our own functions expanded into what every engine has."""
    return rule.tree.transform(_expand)


def sql(rule: Rule, dialect: str) -> str:
    """The rule as one scalar SQL expression."""
    return tree(rule).sql(dialect=dialect)


def _expand(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Anonymous):
        if node.name in ("top_sum", "top_key"):
            return _top(node)
        arguments = [argument.transform(_expand) for argument in node.expressions]
        expanded = FUNCTIONS[node.name.lower()].expand(arguments)
        return exp.Anonymous(this=node.name, expressions=arguments) if expanded is None else exp.paren(expanded)
    if isinstance(node, exp.Div | exp.Mod):
        # Engines disagree on a division by zero (null, error, infinity); here it is always null.
        under = exp.Nullif(this=node.expression.transform(_expand), expression=exp.Literal.number(0))
        return type(node)(this=node.this.transform(_expand), expression=under, **_flags(node))
    return node


def _flags(node: exp.Expr) -> dict[str, bool]:
    return {key: value for key, value in node.args.items() if key in ("typed", "safe")}


def _top(node: exp.Anonymous) -> exp.Expr:
    place, *cells = node.expressions
    if node.name == "top_sum":
        ordered = exp.func("list_reverse_sort", exp.Array(expressions=[exp.func("coalesce", c, "0") for c in cells]))
        return exp.func("list_sum", exp.func("list_slice", ordered, exp.Literal.number(1), place))
    # The largest cells by name: each cell's hundredths and its place packed into one whole number, so that a list
    # of plain doubles is sorted. Exact up to 2^53 / (100 × 1024), about 8.8e10.
    packed = [parse_one(f"round(coalesce(c, 0) * 100) * {_PLACES} + {_PLACES - 1 - i}", dialect="duckdb") for i in range(len(cells))]
    for code, cell in zip(packed, cells, strict=True):
        for column in list(code.find_all(exp.Column)):
            column.replace(cell.copy())
    best = exp.func("list_extract", exp.func("list_reverse_sort", exp.Array(expressions=packed)), place)
    names = exp.Array(expressions=[exp.Literal.string(_key(c.name)) for c in cells])
    which = exp.cast(
        exp.Sub(this=exp.Literal.number(_PLACES), expression=exp.Mod(this=best, expression=exp.Literal.number(_PLACES))), "bigint"
    )
    something = exp.GTE(this=best.copy(), expression=exp.Literal.number(_PLACES))
    return exp.case().when(something, exp.func("list_extract", names, which))


_PLACES = 1024


def _key(column: str) -> str:
    return column[column.index("[") + 1 : -1]
