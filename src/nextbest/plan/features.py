"""From cells to one wide row per customer: features, population and signals."""

from collections.abc import Iterable

from nextbest.plan import contact
from nextbest.plan.stage import Stage, listing, once, quote, text
from nextbest.playbook.bind import OWNED, Bound
from nextbest.rules.parse import Rule
from nextbest.rules.render import leaders, sql, with_leaders


@once
def left_alone(bound: Bound, holdouts: bool = False, erased_salt: str = "") -> Stage:
    """Who is not scored, and why: erased, an objection to profiling, a holdout. Grain: one such customer."""
    business = bound.model.business
    key = quote(bound.code)
    why = f"select {key}, {contact.left_alone(bound, holdouts, erased_salt)} as held_by from {quote(business.customers)}"
    return Stage("left_alone", "one customer who is not scored", f"select * from ({why}) where held_by is not null")


SUMMED, ALONE = "summed", "left alone"
"""The table of customers with their own columns and cells beside them, and its column that says who is not scored."""


@once
def features(bound: Bound) -> Stage:
    """Every customer that may be scored, with cells and features, in the order of `summed`."""
    columns = listing([quote(name) for name in bound.inputs])
    return over(bound, f"select {columns}\nfrom {quote(SUMMED)}\nwhere not {quote(ALONE)}")


def over(bound: Bound, base: str) -> Stage:
    """Features over a SELECT of customer columns and cells, in its order. Grain: one customer."""
    used = {column for rule in bound.rules() for column in rule.columns}
    base = with_leaders(base, bound.rules())
    held = [f"cast({holds(products)} as double) as {quote(column)}" for column, products in bound.held().items() if column in used]
    if held:
        base = f"select *,\n  {listing(held)}\nfrom (\n{base})"
    return Stage("features", "one customer", _layered(bound.features, base))


def holds(products: Iterable[str]) -> str:
    """SQL: whether the customer holds any of the products, by their names in lower case."""
    return f"coalesce(list_has_any({OWNED}, [{', '.join(text(name) for name in products)}]), false)"


def _layered(rules: dict[str, Rule], base: str) -> str:
    """Features in layers, each over those below it."""
    done: set[str] = set()
    select = base
    while rest := {name: rule for name, rule in rules.items() if name not in done}:
        layer = {name: rule for name, rule in rest.items() if not any(column in rest for column in rule.columns)}
        added = listing([f"{sql(rule, 'duckdb')} as {quote(name)}" for name, rule in layer.items()])
        select = f"select *,\n  {added}\nfrom (\n{select})"
        done |= layer.keys()
    return select


def rows_of(bound: Bound, *names: str) -> str:
    """SQL over `features` and `population`: the customer's code and the columns named. Grain: one customer, by code."""
    columns = ", ".join(map(quote, dict.fromkeys((bound.code, *names))))
    return f"select {columns} from features cross join population order by {quote(bound.code)}"


@once
def population(bound: Bound) -> Stage:
    """What is usual among the customers of this run. Grain: one row in all."""
    items = []
    for name, item in bound.model.features.population.items():
        column = quote(item.of)
        items.append(
            f"case when count({column}) >= {item.at_least} then quantile_disc({column}, {item.quantile}) "
            f"else {item.default} end as {quote(name)}"
        )
    return Stage("population", "one row", f"select {listing(items or ['count(*) as scored_customers'])}\nfrom features")


@once
def signals(bound: Bound) -> Stage:
    """Features, population, segments and the strength of every signal (0 to 1). Grain: one customer."""
    source = "features, population"
    segments = [f"coalesce(cast({sql(rule, 'duckdb')} as boolean), false) as {quote(name)}" for name, rule in bound.segments.items()]
    if segments:
        source = f"(select *,\n  {listing(segments)}\nfrom {source})"
    items = [f"{strength(rule)} as {quote(name)}" for name, rule in bound.signals.items()]
    return Stage("signals", "one customer", f"select {listing(['*', *items])}\nfrom {source}")


def written(bound: Bound) -> str:
    """SQL: what features.parquet holds: everything that rules saw, but for what only they can read."""
    own = ", ".join(map(quote, leaders(bound.rules())))
    return f"select *{f' exclude ({own})' if own else ''} from signals"


def strength(rule: Rule) -> str:
    """SQL: a signal's strength, 0 to 1; 0 where it is unknown."""
    return f"greatest(0.0, least(1.0, coalesce(cast({sql(rule, 'duckdb')} as double), 0.0)))"
