"""Customers and products side by side: what was answered, to learn from, and what is open, to rank.

Beside the customer's and the product's columns each row has the pair features, `heuristic`, what the customer answered
before to the same product (`asked_before`, `taken_before`: of earlier rounds only), and `basket`, the products held or taken
in earlier rounds.
"""

from collections.abc import Iterable
from datetime import date

from nextbest.plan.stage import Stage, listing, quote, text
from nextbest.plan.staging import customer_code, is_rejected, odd_cells, problem_of, rule_type, within
from nextbest.playbook.bind_learning import BoundOfferLearning, BoundReason
from nextbest.playbook.sources import Source
from nextbest.rules.render import sql


def products(learning: BoundOfferLearning, rows: str) -> str:
    """The products table with `problem`. Grain: one row of the file."""
    code = quote(learning.product)
    checks = [("no_product", f"{code} is null"), ("duplicate_product", "row <> first"), *odd_cells(learning.model.products)]
    numbered = f"select *, row_number() over () as row from ({rows})"
    first = f"select *, min(row) over (partition by {code}) as first from ({numbered})"
    return f"select * exclude (row, first), {problem_of(checks)} as problem from ({first})"


def typed_products(learning: BoundOfferLearning, staged: str, id_type: str) -> Stage:
    """One row per product, numbers as rules compute with them."""
    code = quote(learning.product)
    items = [f"cast({code} as {id_type}) as {code}"]
    for name, column in learning.model.products.columns.items():
        if name != learning.product:
            items.append(f"cast({within(column, quote(name))} as {rule_type(column)}) as {quote(name)}")
    select = f"select {listing(items)}\nfrom {quote(staged)}\nwhere problem is null or not {is_rejected()}\norder by 1"
    return Stage("products", "one product", select)


def linked(learning: BoundOfferLearning, name: str, rows: str, customer_type: str, product_type: str, until: date) -> str:
    """A table that links customers and products, with `problem`. Grain: one row of the file. `until`: the last day that is known."""
    source, business = learning.tables[name], learning.book.model.business
    key, code = quote(learning.book.code), quote(learning.product)
    customer, product = customer_code(f"r.{key}", customer_type), customer_code(f"r.{code}", product_type)
    answers = name == "answers"
    needed = {"no_round": learning.model.round, "no_answer": learning.model.taken} if answers else {}
    same = ", ".join([key, code, *([quote(learning.model.round)] if answers else [])])
    checks = [
        ("no_id", f"r.{key} is null"),
        ("no_product", f"r.{code} is null"),
        ("unknown_customer", f"not exists (from {quote(business.customers)} as c where c.{key} = {customer})"),
        ("unknown_product", f"not exists (from products as p where p.{code} = {product})"),
        *((reason, f"{quote(column)} is null") for reason, column in needed.items()),
        *(_odd_dates(learning.model.sent, until) if answers and learning.model.sent else []),
        ("duplicate_row", "again"),
    ]
    names = [column for column in source.columns if quote(column) not in (key, code)]
    columns = [f"{customer} as {key}", f"{product} as {code}", *map(quote, names)]
    raws = [quote(f"raw.{column}") for column in source.columns]
    whole = " and ".join(f"{column} is not null" for column in [key, code, *map(quote, needed.values())])
    placed = f"select *, row_number() over () as place from ({rows})"
    order = f"partition by {same}, {whole} order by place"
    numbered = f"select * exclude (place), {whole} and row_number() over ({order}) > 1 as again from ({placed})"
    return f"select {listing([*columns, *raws, 'source_file'])},\n  {problem_of(checks)} as problem from ({numbered}) as r"


def _odd_dates(sent: str, until: date) -> list[tuple[str, str]]:
    """Checks of the answers' dates; a blank one is not odd."""
    unread = f"{quote(sent)} is null and trim(cast({quote(f'raw.{sent}')} as varchar)) <> ''"
    return [("bad_date", unread), ("after_as_of", f"{quote(sent)}::date > date '{until}'")]


def _features(learning: BoundOfferLearning, among: str, extra: Iterable[str]) -> str:
    """SELECT over `among` (c: features, p: products, extra columns): everything that models and reasons look at."""
    book = learning.book
    key, code = quote(book.code), quote(learning.product)
    own = dict.fromkeys([*book.customer_columns, *book.features])
    about = [name for name in learning.model.products.columns if name != learning.product]
    base = [f"c.{key} as customer", f"p.{code} as product", *extra]
    base += [f"c.{quote(name)}" for name in own if quote(name) != key] + [f"p.{quote(name)}" for name in about]
    base += [f"population.{quote(name)}" for name in book.model.features.population]
    select = f"select {listing(base)}\nfrom {among}"
    pairs = [f"{sql(rule, 'duckdb')} as {quote(name)}" for name, rule in learning.pairs.items()]
    if pairs:
        select = f"select *,\n  {listing(pairs)}\nfrom (\n{select})"
    failed = ", ".join(
        f"case when not coalesce({sql(rule, 'duckdb')}, false) then {text(name)} end" for name, rule in learning.eligible.items()
    )
    said = [f"{_first_true(item)} as {quote(f'reason.{name}')}" for name, item in learning.reasons.items()]
    last = [
        f"cast({sql(learning.heuristic, 'duckdb')} as double) as heuristic",
        f"concat_ws(' ', {failed}) as failed" if failed else "'' as failed",
        *said,
    ]
    return f"select *,\n  {listing(last)}\nfrom (\n{select})"


def _first_true(reason: BoundReason) -> str:
    """SQL: the place of the first wording that is true."""
    branches = [f"when {sql(rule, 'duckdb') if rule else 'true'} then {place}" for place, (rule, _) in enumerate(reason.speaks_for)]
    return f"case {' '.join(branches)} end"


def _columns(learning: BoundOfferLearning) -> list[str]:
    numbers = [f"cast({quote(name)} as double) as {quote(name)}" for name in learning.numbers]
    return [*numbers, *(f"cast({quote(name)} as varchar) as {quote(name)}" for name in learning.words)]


def _baskets(learning: BoundOfferLearning) -> str:
    """SELECT: each customer's products. `basket`: held now or taken; `had`: the same with the first round that took it, if any did.

    What was taken in a round was not held before it, though it may stand among the holdings by now.
    """
    key, code, turn = quote(learning.book.code), quote(learning.product), quote(learning.model.round)
    taken = f"select {key}, {code}, {turn} as turn from answers where {quote(learning.model.taken)}"
    each = f"select {key}, {code}, min(turn) as since from (select {key}, {code}, null as turn from held union all {taken}) group by all"
    had = f"list({{'product': {code}, 'since': since}} order by {code})"
    return f"select {key}, list({code} order by {code}) as basket, {had} as had from ({each}) group by 1"


def answered(learning: BoundOfferLearning) -> Stage:
    """Grain: one answer. `taken` is 1 or 0; history is that of earlier rounds."""
    key, code = quote(learning.book.code), quote(learning.product)
    turn, taken = quote(learning.model.round), quote(learning.model.taken)
    earlier = f"over (partition by {key}, {code} order by {turn} range between unbounded preceding and 1 preceding)"
    history = (
        f"select {key}, {code}, {turn} as round, cast({taken} as integer) as taken, "
        f"coalesce(count(*) {earlier}, 0) as asked_before, "
        f"coalesce(sum(cast({taken} as integer)) {earlier}, 0) as taken_before from answers"
    )
    among = (
        f"({history}) as a join features as c on c.{key} = a.{key} cross join population join products as p on p.{code} = a.{code} "
        f"left join ({_baskets(learning)}) as b on b.{key} = a.{key}"
    )
    basket = "list_transform(list_filter(coalesce(b.had, []), lambda x: coalesce(x.since < a.round, true)), lambda x: x.product) as basket"
    extra = ["a.round", "a.taken", "a.asked_before", "a.taken_before", basket]
    select = _features(learning, among, extra)
    kept = ["customer", "product", "round", "taken", "asked_before", "taken_before", "basket", "heuristic", *_columns(learning)]
    kept += [f"{quote(name)} as {quote(f'segment.{name}')}" for name in learning.model.fairness]
    return Stage("answered", "one answer", f"select {listing(kept)}\nfrom (\n{select})\norder by round, customer, product")


def opened(learning: BoundOfferLearning) -> Stage:
    """Grain: one customer × product that is not held. `failed` names the rules of eligibility that do not hold."""
    key, code = quote(learning.book.code), quote(learning.product)
    taken = quote(learning.model.taken)
    history = (
        f"select {key}, {code}, count(*) as asked_before, sum(cast({taken} as integer)) as taken_before from answers group by {key}, {code}"
    )
    among = (
        f"features as c cross join population cross join products as p "
        f"left join ({history}) as a on a.{key} = c.{key} and a.{code} = p.{code} "
        f"left join ({_baskets(learning)}) as b on b.{key} = c.{key} "
        f"where not exists (from held as h where h.{key} = c.{key} and h.{code} = p.{code})"
    )
    extra = ["coalesce(a.asked_before, 0) as asked_before", "coalesce(a.taken_before, 0) as taken_before"]
    extra.append("coalesce(b.basket, []) as basket")
    select = _features(learning, among, extra)
    reasons = [quote(f"reason.{name}") for name in learning.reasons]
    kept = ["customer", "product", "failed", "asked_before", "taken_before", "basket", "heuristic", *_columns(learning), *reasons]
    return Stage("opened", "one customer × product not held", f"select {listing(kept)}\nfrom (\n{select})\norder by customer, product")


def linked_table(source: Source, name: str, staged: str) -> Stage:
    """The rows of a linked table that can be used."""
    return Stage(name, "one row", f"select {', '.join(map(quote, source.columns))} from {quote(staged)} where problem is null")
