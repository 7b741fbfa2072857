"""From a rule's text to a checked tree that names only known things.

`parse` accepts the language (a closed list of node types and functions); `bind` resolves names: a parameter
becomes its number, a cell such as `spend['Такси']` becomes the column that holds it. What comes out is plain
scalar SQL over one row of columns, the same for the batch, one customer, an explanation and a test.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from nextbest.rules.functions import FUNCTIONS

ParamValue = float | int | str | bool

_NODES = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Neg, exp.Not, exp.And, exp.Or,
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod,
    exp.Between, exp.In, exp.Is, exp.Case, exp.If, exp.Bracket, exp.Anonymous,
)  # fmt: skip


class RuleError(ValueError):
    """A rule outside the language or naming something unknown. `fix` says what to write instead."""

    def __init__(self, what: str, fix: str = ""):
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclass(frozen=True)
class Scope:
    """What a rule may name. `measures` maps a measure to its keys."""

    columns: frozenset[str]
    measures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    params: Mapping[str, ParamValue] = field(default_factory=dict)

    def adding(self, columns: Iterable[str] = (), params: Mapping[str, ParamValue] | None = None) -> "Scope":
        """This scope and more names; a later parameter hides an earlier one of the same name."""
        return Scope(self.columns | set(columns), self.measures, {**self.params, **(params or {})})


@dataclass(frozen=True)
class Rule:
    """A bound rule: its text as written, its tree over columns, and the parameters it names."""

    text: str
    tree: exp.Expr
    params: Mapping[str, ParamValue] = field(default_factory=dict, compare=False)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule reads, in order of first use."""
        return tuple(dict.fromkeys(column.name for column in self.tree.find_all(exp.Column, bfs=False)))


def cell(measure: str, key: str) -> str:
    """The column that holds one cell of a measure, e.g. `spend[Такси]`."""
    return f"{measure}[{key}]"


def literal(value: ParamValue) -> exp.Expr:
    """A Python value as a tree node."""
    return exp.convert(value)


def parse(text: str) -> exp.Expr:
    """The tree of one scalar expression of the rule language; not to be changed: it is kept. Raises RuleError."""
    return _parsed(str(text))


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> exp.Expr:
    """Kept, since the same playbook is bound for many days, and again for every run."""
    try:
        trees = sqlglot.parse(text, dialect="duckdb")
    except SqlglotError as error:
        detail: dict[str, str] = next(iter(getattr(error, "errors", [])), {})
        near = f" near '{detail['highlight']}'" if detail.get("highlight") else ""
        raise RuleError(f"not a valid expression{near}", "write one SQL expression, e.g. age >= 18") from None
    if len(trees) != 1 or trees[0] is None:
        raise RuleError("not one expression", "write exactly one SQL expression")
    tree = trees[0].transform(_as_call)
    for node in tree.walk():
        if not isinstance(node, _NODES):
            raise RuleError(
                f"'{node.key}' is outside the rule language",
                "rules use arithmetic, comparisons, and/or/not, between, in, is null, case, and: " + ", ".join(FUNCTIONS),
            )
        if isinstance(node, exp.Anonymous):
            _check_call(node)
        if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest")):
            raise RuleError("'in' takes a list of values", "write x in ('a', 'b')")
    return tree


def _as_call(node: exp.Expr) -> exp.Expr:
    """Functions that the parser knows by class become plain calls, so that one shape serves all."""
    if isinstance(node, exp.Func) and not isinstance(node, _NODES):
        arguments = []
        for value in (node.args.get(name) for name in node.arg_types):
            arguments += [item for item in (value if isinstance(value, list) else [value]) if item is not None]
        return exp.Anonymous(
            this=node.sql_name().lower(),
            expressions=[item.transform(_as_call) for item in arguments if isinstance(item, exp.Expr)],
        )
    return node


def _check_call(node: exp.Anonymous) -> None:
    name = node.name.lower()
    function = FUNCTIONS.get(name)
    if function is None:
        raise RuleError(f"unknown function '{name}'", did_you_mean(name, FUNCTIONS))
    given = len(node.expressions)
    if not function.takes(given):
        raise RuleError(
            f"{name} takes {len(function.arguments)} values, {given} given",
            f"{name}({', '.join(function.arguments)})",
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return "did you mean " + " or ".join(close) + "?" if close else "known: " + ", ".join(names[:12]) + " …"


def bind(text: str, scope: Scope) -> Rule:
    """The rule with every name resolved against `scope`. Raises RuleError with a 'did you mean'."""
    written = parse(text)
    bound = written.transform(_resolve, scope)
    _check_kinds(bound)
    return Rule(str(text), bound, {node.name: scope.params[node.name] for node in written.find_all(exp.Column) if node.table == "p"})


def _check_kinds(tree: exp.Expr) -> None:
    """Of several values none is text where another is not: an engine would find out at the first customer who gets the other."""
    for node in tree.walk():
        kinds = _kinds(node)
        if len(kinds) > 1 and "text" in kinds:
            called = "case" if isinstance(node, exp.Case) else node.name.lower()
            raise RuleError(f"'{called}' gives {' or '.join(sorted(kinds))}", "give values of one kind")


def _kinds(node: exp.Expr | None) -> set[str]:
    """The kinds of value that an expression surely may give; a column may be of any."""
    match node:
        case exp.Paren():
            return _kinds(node.this)
        case exp.Literal():
            return {"a number"} if not node.is_string else set() if _reads_as_number(node.name) else {"text"}
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div() | exp.Mod() | exp.Neg():
            return {"a number"}
        case exp.Boolean() | exp.Predicate() | exp.And() | exp.Or() | exp.Not():
            return {"true or false"}
        case exp.Case():
            return set[str]().union(*map(_kinds, (*(branch.args["true"] for branch in node.args["ifs"]), node.args.get("default"))))
        case exp.Anonymous() if node.name.lower() in ("coalesce", "least", "greatest"):
            return set[str]().union(*map(_kinds, node.expressions))
    return set()


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _resolve(node: exp.Expr, scope: Scope) -> exp.Expr:
    if isinstance(node, exp.Bracket):
        return _resolve_cell(node, scope)
    if isinstance(node, exp.Anonymous) and node.name.lower() in ("top_sum", "top_key"):
        return _resolve_top(node, scope)
    if isinstance(node, exp.Column):
        if node.table == "p" and not node.args.get("db"):
            if node.name not in scope.params:
                raise RuleError(f"unknown parameter 'p.{node.name}'", did_you_mean(node.name, scope.params))
            return literal(scope.params[node.name])
        if node.table or isinstance(node.this, exp.Star):
            raise RuleError(f"'{node.sql()}' is not a name here", "parameters are p.name; all else is bare")
        if node.name in scope.measures and not _whole_measure(node):
            raise RuleError(f"'{node.name}' needs a key", f"write {node.name}['{scope.measures[node.name][0]}']")
        if node.name not in scope.columns and node.name not in scope.measures:
            raise RuleError(f"unknown name '{node.name}'", did_you_mean(node.name, [*scope.columns, *scope.measures]))
    return node


def _whole_measure(node: exp.Expr) -> bool:
    """Whether a measure's name stands where a whole measure may: before a key, or in top_sum and top_key."""
    parent = node.parent
    return isinstance(parent, exp.Bracket) or (isinstance(parent, exp.Anonymous) and parent.name.lower() in ("top_sum", "top_key"))


def _resolve_cell(node: exp.Bracket, scope: Scope) -> exp.Expr:
    measure = node.this.name if isinstance(node.this, exp.Column) and not node.this.table else ""
    if measure not in scope.measures:
        raise RuleError(f"unknown measure '{measure or node.this.sql()}'", did_you_mean(measure, scope.measures))
    columns = []
    for key in node.expressions:
        if not (isinstance(key, exp.Literal) and key.is_string):
            raise RuleError(f"a key of {measure} is text", f"write {measure}['{scope.measures[measure][0]}']")
        name = key.name
        if name not in scope.measures[measure]:
            raise RuleError(f"{measure} has no '{name}'", did_you_mean(name, scope.measures[measure]))
        columns.append(exp.column(cell(measure, name), quoted=True))
    total: exp.Expr = columns[0]
    for column in columns[1:]:
        total = exp.Add(this=total, expression=column)
    return exp.paren(total, copy=False) if len(columns) > 1 else total


def _resolve_top(node: exp.Anonymous, scope: Scope) -> exp.Expr:
    measure, place = node.expressions
    if not isinstance(measure, exp.Column) or measure.table or measure.name not in scope.measures:
        raise RuleError(f"{node.name} takes a measure, and '{measure.sql()}' is none", did_you_mean(measure.name, scope.measures))
    if not isinstance(place, exp.Literal) or place.is_string or not place.name.isdigit() or int(place.name) == 0:
        raise RuleError(f"{node.name} takes a whole number from 1", f"{node.name}({measure.name}, 3)")
    cells = [exp.column(cell(measure.name, key), quoted=True) for key in scope.measures[measure.name]]
    return exp.Anonymous(this=node.name.lower(), expressions=[place.copy(), *cells])
