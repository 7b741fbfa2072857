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
_MOST = 2**63 // _PLACES - 1
"""Hundredths that fit a bigint beside a place; from there on a double does not tell a hundredth from the next."""


def leaders(rules: Iterable[Rule]) -> list[str]:
    """The columns that calls of top_sum and top_key read: the largest cells of a measure, as many as some call looks at."""
    return [_leader(measure, place) for measure, (_, most) in _asked(rules).items() for place in range(1, most + 1)]


def with_leaders(base: str, rules: Iterable[Rule]) -> str:
    """A SELECT over cells with the columns of `leaders` beside them.

    Each cell's hundredths and its place are packed together in one whole number, so that no two are equal, and each leader is the largest
    of those below the one before: half the time of a sort. A cell counts for 9e13 at most.
    """
    for measure, (cells, most) in _asked(rules).items():
        packed = [exp.column(f"{measure} {place}", quoted=True).sql(dialect="duckdb") for place in range(1, len(cells) + 1)]
        items = []
        for place, (cell, column) in enumerate(zip(cells, packed, strict=True), 1):
            hundredths = f"greatest({-_MOST}, least({_MOST}, round(coalesce({cell.sql(dialect='duckdb')}, 0) * 100)))"
            items.append(f"cast({hundredths} as bigint) * {_PLACES} + {_PLACES - place} as {column}")
        base = f"select *, {', '.join(items)}\nfrom (\n{base})"
        below = packed
        for place in range(1, most + 1):
            leader = exp.column(_leader(measure, place), quoted=True).sql(dialect="duckdb")
            base = f"select *, greatest({', '.join(below)}) as {leader}\nfrom (\n{base})"
            below = [f"case when {column} < {leader} then {column} end" for column in packed]
        base = f"select * exclude ({', '.join(packed)})\nfrom (\n{base})"
    return base


def _asked(rules: Iterable[Rule]) -> dict[str, tuple[list[exp.Expr], int]]:
    """Measure → its cells, and how many of the largest ones some call looks at."""
    asked: dict[str, tuple[list[exp.Expr], int]] = {}
    for rule in rules:
        for node in rule.tree.find_all(exp.Anonymous):
            if node.name in TOPS:
                place, *cells = node.expressions
                _, most = asked.get(_measure(node), (cells, 0))
                asked[_measure(node)] = cells, max(most, min(int(place.name), len(cells)))
    return asked


def _measure(node: exp.Anonymous) -> str:
    cell: str = node.expressions[1].name
    return cell[: cell.index("[")]


def _leader(measure: str, place: int) -> str:
    return f"leader {place} of {measure}"


def _top(node: exp.Anonymous) -> exp.Expr:
    place, *cells = node.expressions
    most = min(int(place.name), len(cells))
    own = [exp.column(_leader(_measure(node), n), quoted=True).sql(dialect="duckdb") for n in range(1, most + 1)]
    if node.name == "top_sum":
        value = f"({' + '.join(f'floor({leader} / {_PLACES})' for leader in own)}) / 100"
    elif int(place.name) > most:
        value = "null"
    else:
        names = ", ".join(exp.Literal.string(_key(cell.name)).sql(dialect="duckdb") for cell in cells)
        value = f"case when {own[-1]} >= {_PLACES} then [{names}][cast({_PLACES} - {own[-1]} % {_PLACES} as bigint)] end"
    return exp.paren(parse_one(value, dialect="duckdb"))


def _key(column: str) -> str:
    return column[column.index("[") + 1 : -1]
