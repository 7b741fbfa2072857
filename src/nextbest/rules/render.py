"""From a bound rule to SQL for the engine in use."""

from collections.abc import Iterable

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
        if node.name in TOPS:
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


TOPS = ("top_sum", "top_key")
_PLACES = 1024


def leaders(rules: Iterable[Rule]) -> dict[str, exp.Expr]:
    """What calls of top_sum and top_key read: column → the largest cells of a measure, as many as some call looks at.

    A list of numbers, largest first, each a cell's hundredths and its place packed together: one sort of plain doubles serves all
    calls. Exact up to 2^53 / (100 × 1024), about 8.8e10.
    """
    most: dict[str, int] = {}
    measures: dict[str, list[exp.Expr]] = {}
    for rule in rules:
        for node in rule.tree.find_all(exp.Anonymous):
            if node.name in TOPS:
                place, *cells = node.expressions
                column = _leaders(node)
                most[column], measures[column] = max(most.get(column, 0), int(place.name)), cells
    return {column: _packed(cells, most[column]) for column, cells in measures.items()}


def _leaders(node: exp.Anonymous) -> str:
    cell = node.expressions[1].name
    return f"leaders[{cell[: cell.index('[')]}]"


def _packed(cells: list[exp.Expr], most: int) -> exp.Expr:
    packed = []
    for place, cell in enumerate(cells, 1):
        code = parse_one(f"coalesce(c, 0) * {100 * _PLACES} + {_PLACES - place}", dialect="duckdb")
        packed.append(code.transform(lambda node, cell=cell: cell.copy() if isinstance(node, exp.Column) else node))
    ordered = exp.func("list_reverse_sort", exp.Array(expressions=packed))
    return exp.func("list_slice", ordered, exp.Literal.number(1), exp.Literal.number(most))


def _top(node: exp.Anonymous) -> exp.Expr:
    place, *cells = node.expressions
    if node.name == "top_sum":
        places = range(1, min(int(place.name), len(cells)) + 1)
        total = parse_one(f"({' + '.join(f'floor(l[{n}] / {_PLACES})' for n in places) or '0'}) / 100", dialect="duckdb")
    else:
        names = ", ".join(exp.Literal.string(_key(cell.name)).sql(dialect="duckdb") for cell in cells)
        which = f"[{names}][cast({_PLACES} - l[{place.name}] % {_PLACES} as bigint)]"
        total = parse_one(f"case when l[{place.name}] >= {_PLACES} then {which} end", dialect="duckdb")
    own = exp.column(_leaders(node), quoted=True)
    return exp.paren(total.transform(lambda part: own.copy() if isinstance(part, exp.Column) else part))


def _key(column: str) -> str:
    return column[column.index("[") + 1 : -1]
