"""The decision as it goes into the ledger: one JSON text per customer, with all that made it.

`past` is what the contact policy saw; `verdicts` has a row per offer. Beside the text stand the inputs,
everything the rules saw; from them and the past, `replay` makes the same text again, byte for byte.
"""

from nextbest.plan.candidates import failed, verdict
from nextbest.plan.contact import HISTORY, SUPPRESSIONS
from nextbest.plan.stage import Stage, listing, once, quote, text
from nextbest.playbook.bind import Bound, BoundOffer

INDEX = ("offer", "send_at", "held_by")
"""Columns of a record that stand beside it in the workspace's index."""

VERDICT = ("verdict", "failed", "benefit", "propensity", "rank", "held_by")
"""The values of one row of `verdicts`: a row per offer, in the order in which the entry's header names them."""


@once
def places(bound: Bound) -> Stage:
    """Every customer's place in the run, by code, in that order; who was erased has none. Grain: one customer."""
    key = quote(bound.code)
    customers = f"{quote(bound.model.business.customers)} where {key} not in (select {key} from left_alone where held_by = 'erased')"
    return Stage(
        "places", "one customer", f"select {key}, row_number() over (order by {key}) - 1 as place_in_run from {customers} order by 2"
    )


@once
def past(bound: Bound) -> Stage:
    """What the contact policy saw of each customer. Grain: one customer with history or suppressions."""
    key = quote(bound.code)
    return Stage(
        "past",
        "one customer with a past",
        f"""select {key}, events, rests from
  (select {key}, list(json_array({", ".join(HISTORY)}) order by happened, event, decision_id) as events from history group by 1)
  full join
  (select {key}, list(json_array({", ".join(SUPPRESSIONS)}) order by until, scope, what) as rests from suppressions group by 1)
  using ({key})""",
    )


@once
def records(bound: Bound, source: str = "places") -> Stage:
    """The record of every customer of the run, and its index. Grain: one customer."""
    key = quote(bound.code)
    held = f"coalesce(a.held_by, case when c.place is null then 'no_offer' else {withheld('c', 'm')} end)"
    verdicts = ", ',', ".join(_verdict(offer, place) for place, offer in enumerate(bound.offers, 1))
    index = [
        f"{_by_place([offer.id for offer in bound.offers])} as offer",
        f"case when {held} is null then c.send_at end as send_at",
        f"{held} as held_by",
    ]
    words = {name: _word(name) for name in ("offer", "held_by", "language", "treatment")}
    explored, drawn = {}, ""
    if bound.contact.exploration:  # what another policy would have earned is found out from these
        explored = {"chance": _number("cast(chance as decimal(12, 9))"), "choices": "coalesce(choices, 'null')"}
        named = ", ".join(text(offer.id) for offer in bound.offers)
        drawn = f"c.chance, cast(to_json(list_transform(c.choices, lambda x: [{named}][x])) as varchar) as choices,"
    pairs = {
        "customer": "cast(to_json(customer) as varchar)",
        **words,
        "send_at": _number("send_at"),
        **explored,
        "text": "coalesce(cast(to_json(text) as varchar), 'null')",
        "past": "coalesce(cast(past as varchar), 'null')",
        "verdicts": "coalesce(verdicts, 'null')",
    }
    record = ", ',',\n  ".join(f"'\"{name}\":', {value}" for name, value in pairs.items())
    return Stage(
        "records",
        "one customer",
        f"""select {key}, place, customer, {", ".join(INDEX)}, verdicts is not null as inputs_kept, concat('{{', {record}, '}}') as record
from (select p.{key}, p.place_in_run as place, cast(p.{key} as varchar) as customer,
  {listing(index)},
  m.language, m.treatment, case when {held} is null then m.message end as text,
  case when t.{key} is not null then json_array(t.events, t.rests) end as past, {drawn}
  case when s.{key} is not null then concat('[', {verdicts}, ']') end as verdicts
from {source} as p
left join left_alone as a using ({key}) left join scored as s using ({key})
left join contacted as c using ({key}) left join messages as m using ({key})
left join past as t using ({key}))""",
    )


def input_columns(bound: Bound) -> str:
    """The inputs as they stand beside a record, in the customers' order. Grain: one customer who was scored."""
    columns = ", ".join(f"{quote(name)} as {quote(INPUT + name)}" for name in bound.inputs)
    return f"select {columns} from features"


INPUT = "input "
"""What the name of an input's column begins with, so that it never is another's."""


def _word(expression: str) -> str:
    """SQL: a word without quotes or backslashes as JSON."""
    return f"""coalesce('"' || {expression} || '"', 'null')"""


def _number(expression: str) -> str:
    return f"coalesce(cast({expression} as varchar), 'null')"


def withheld(contacted: str, messages: str) -> str:
    """SQL: what held back a customer's message, null where it may go out."""
    return f"coalesce({contacted}.held_by, case when {messages}.message is null then 'no_text' end)"


def _by_place(values: list[str]) -> str:
    whens = " ".join(f"when {place} then {text(value)}" for place, value in enumerate(values, 1))
    return f"case c.place {whens} end"


def _verdict(offer: BoundOffer, place: int) -> str:
    def col(name: str) -> str:
        return f"s.{quote(f'{offer.id}.{name}')}"

    rules = f"concat_ws(' ', nullif({failed(offer, 'eligible')}, ''), nullif({failed(offer, 'suitable')}, ''))"
    rank = _number(col("rank"))
    held = f"case when c.resting is not null then {_word(f'list_filter(c.resting, lambda r: r.place = {place})[1].rule')} else 'null' end"
    values = [
        text('["'), verdict(offer), text('","'), rules, text('",'), _number(col("benefit")), "','",
        _number(f"cast({col('propensity')} as decimal(9, 6))"), "','", rank, "','", held, "']'",
    ]  # fmt: skip
    return ", ".join(values)
