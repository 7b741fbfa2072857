"""From activity rows to one wide row per customer: measure cells, then features, population and signals."""

from collections.abc import Iterable

from nextbest.plan import contact
from nextbest.plan.stage import Stage, listing, once, quote, text
from nextbest.plan.staging import is_rejected
from nextbest.playbook.bind import OWNED, UNKNOWN, Bound
from nextbest.playbook.model import Measure
from nextbest.playbook.window import last_month, month_starts
from nextbest.rules.parse import Rule
from nextbest.rules.render import sql


@once
def cells(bound: Bound, source: str) -> Stage:
    """The cells of all measures over one activity table. Grain: one customer with activity."""
    key = quote(bound.model.business.sources[source].code)
    items = [key]
    for name, needed in bound.cells().items():
        measure = bound.measures[name]
        if measure.of != source:
            continue
        for item in needed:
            condition = _condition(bound, measure, item.key)
            items.append(f"{_taken(bound, item.of, condition)} as {quote(item.column)}")
    rows = f"select * from {quote(source)} where problem is null or not {is_rejected()}"
    return Stage(
        f"{source}_cells",
        "one customer with activity",
        f"select {listing(items)}\nfrom {_with_paydays(bound, source, rows)}\ngroup by {key}",
        f"summing {source}",
    )


def _taken(bound: Bound, of: str, condition: str) -> str:
    match of:
        case "sum":
            return f"sum(case when {condition} then value end) / 100"
        case "count":
            return f"cast(count(case when {condition} and coalesce(value, 1) > 0 then 1 end) as double)"
        case "days":
            return f"cast(count(distinct case when {condition} and coalesce(value, 1) > 0 then date end) as double)"
        case _:
            edge = "max" if of == "since" else "min"
            return f"cast(date_diff('day', {edge}(case when {condition} then date end), date '{bound.as_of}') as double)"


def _with_paydays(bound: Bound, source: str, rows: str) -> str:
    """The rows, with the customer's day of pay where a measure asks for it."""
    days = {measure.payday.day for measure in bound.measures.values() if measure.of == source and measure.payday}
    if not days:
        return f"({rows})"
    customers = bound.model.business.customers
    theirs = quote(bound.code)
    listed = ", ".join(f"c.{quote(day)} as {quote(f'payday.{day}')}" for day in sorted(days))
    own = quote(bound.model.business.sources[source].code)
    return f"(select r.*, {listed} from ({rows}) as r join {quote(customers)} as c on c.{theirs} = r.{own})"


def _near_payday(day: str, within: str) -> str:
    """SQL: whether a row's date lies so near to a day of pay: this month's, the last one's or the next one's."""
    distances = []
    for months in (-1, 0, 1):
        first = f"date_trunc('month', date) + interval ({months}) month"
        paid = f"least({quote(f'payday.{day}')}, day(last_day({first})))"
        distances.append(f"abs(date_diff('day', {first}, date) - ({paid} - 1))")
    known = f"{quote(f'payday.{day}')} is not null"  # least() would skip what is unknown
    return f"case when {known} then least({', '.join(distances)}) <= {within} end"


def _condition(bound: Bound, measure: Measure, key: str) -> str:
    business = bound.model.business
    conditions = []
    if measure.by == "month_back":
        starts = month_starts(bound.as_of, business.horizon_months)
        back = int(key)
        conditions.append(f"date >= date '{starts[back - 1]}'")
        if back > 1:
            conditions.append(f"date < date '{starts[back - 2]}'")
    elif measure.payday:
        near = _near_payday(measure.payday.day, sql(bound.paydays[measure.sum], "duckdb"))
        conditions.append(near if key == "near" else f"not {near}")
    elif measure.by == "all":
        conditions.append("true")
    elif measure.by == "currency":
        conditions.append(f"coalesce({quote(measure.by)}, {text(business.currency)}) = {text(key)}")
    else:
        conditions.append(f"{quote(measure.by)} = {text(key)}")
    if measure.over == "last_month":
        month = last_month(bound.as_of)
        conditions.append(f"date between date '{month.start}' and date '{month.end}'")
    return " and ".join(conditions)


@once
def left_alone(bound: Bound, holdouts: bool = False, erased_salt: str = "") -> Stage:
    """Who is not scored, and why: erased, an objection to profiling, a holdout. Grain: one such customer."""
    business = bound.model.business
    key = quote(bound.code)
    why = f"select {key}, {contact.left_alone(bound, holdouts, erased_salt)} as held_by from {quote(business.customers)}"
    return Stage("left_alone", "one customer who is not scored", f"select * from ({why}) where held_by is not null")


@once
def features(bound: Bound) -> Stage:
    """Every customer that may be scored, with cells (0 where there is no activity) and features."""
    business = bound.model.business
    source = business.sources[business.customers]
    key = quote(source.code)
    items = [f"c.{quote(name)}" for name in source.columns]
    joins = []
    for table in dict.fromkeys(measure.of for measure in bound.measures.values()):
        joins.append(f"left join {quote(table + '_cells')} using ({key})")
    for needed in bound.cells().values():
        for item in needed:
            column = quote(item.column)
            items.append(column if item.of in UNKNOWN else f"coalesce({column}, 0) as {column}")
    scored = f"c.{key} not in (select {key} from left_alone)"
    base = f"select {listing(items)}\nfrom {quote(business.customers)} as c {' '.join(joins)}\nwhere {scored}"
    return over(bound, base)


def over(bound: Bound, base: str) -> Stage:
    """Features over a SELECT of customer columns and cells. Grain: one customer."""
    key = quote(bound.code)
    used = {column for rule in bound.rules() for column in rule.columns}
    held = [f"cast({holds(products)} as double) as {quote(column)}" for column, products in bound.held().items() if column in used]
    if held:
        base = f"select *,\n  {listing(held)}\nfrom (\n{base})"
    return Stage("features", "one customer", f"{_layered(bound.features, base)}\norder by {key}", "computing features")


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
    return Stage(
        "population", "one row", f"select {listing(items or ['count(*) as scored_customers'])}\nfrom features", "measuring the population"
    )


@once
def signals(bound: Bound) -> Stage:
    """Features, population, segments and the strength of every signal (0 to 1). Grain: one customer."""
    source = "features, population"
    segments = [f"coalesce(cast({sql(rule, 'duckdb')} as boolean), false) as {quote(name)}" for name, rule in bound.segments.items()]
    if segments:
        source = f"(select *,\n  {listing(segments)}\nfrom {source})"
    items = [f"{strength(rule)} as {quote(name)}" for name, rule in bound.signals.items()]
    return Stage("signals", "one customer", f"select {listing(['*', *items])}\nfrom {source}", "reading signals")


def strength(rule: Rule) -> str:
    """SQL: a signal's strength, 0 to 1; 0 where it is unknown."""
    return f"greatest(0.0, least(1.0, coalesce(cast({sql(rule, 'duckdb')} as double), 0.0)))"
