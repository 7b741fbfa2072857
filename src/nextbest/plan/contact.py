"""The contact policy as SQL: who is left alone, which offers rest, and who may be written to when.

It reads `history` (one event of a customer), `suppressions` (one of a customer) and the scored offers. Times are
seconds since 1970 in UTC. A window of so many days ends at the message and does not hold its own first moment:
a contact exactly seven days ago is outside the week.
"""

from collections.abc import Mapping
from typing import Final

from nextbest.plan.exploration import drawn, with_chances
from nextbest.plan.ranking import FIRST, best, col
from nextbest.plan.stage import Stage, listing, once, quote, text
from nextbest.playbook.bind import Bound, BoundOffer
from nextbest.playbook.contact import ANSWERS, BUCKETS, BoundCap, BoundCoolOff, BoundHoldout
from nextbest.rules.render import sql

HISTORY: Final = {
    "event": "varchar", "decision_id": "varchar", "offer": "varchar", "category": "varchar",
    "channel": "varchar", "purpose": "varchar", "lane": "varchar", "happened": "bigint",
}  # fmt: skip
"""Columns of `history` beside the customer's code. A contact's moment is when it goes out."""

SUPPRESSIONS: Final = {"scope": "varchar", "what": "varchar", "until": "bigint"}
"""Columns of `suppressions` beside the customer's code. scope: all, channel, category or offer."""

Moments = Mapping[str, Mapping[str | None, int]]
"""Lane → time zone (None: of customers whose own is not known) → when a message goes out."""


@once
def held_out(holdout: BoundHoldout, key: str) -> str:
    """SQL: whether the customer is in the holdout."""
    return f"{drawn_place(holdout.salt, key)} < {holdout.threshold}"


def drawn_place(salt: str, key: str) -> str:
    """SQL: `playbook.contact.bucket`, the customer's place among 2^32."""
    return f"cast('0x' || sha256({text(salt + ':')} || cast({key} as varchar))[1:8] as bigint)"


def left_alone(bound: Bound, holdouts: bool, erased_salt: str) -> str:
    """SQL over the customers table: why a customer is not scored at all, null for those who are.

    With a salt, customers whose salted hash stands in `forgotten` had themselves erased.
    """
    erased = f"sha256({text(erased_salt + ':')} || cast({quote(bound.code)} as varchar)) in (select digest from forgotten)"
    whens = [f"when {erased} then 'erased'"] if erased_salt else []
    whens += [f"when not coalesce({sql(bound.profiling, 'duckdb')}, false) then 'profiling'"]
    if holdouts:
        whens += [f"when {held_out(item, quote(bound.code))} then 'holdout:{item.name}'" for item in bound.contact.holdouts if item.share]
    return f"case {' '.join(whens)} end"


def moment_of(bound: Bound, lane: str, moments: Moments) -> str:
    """SQL over features: when a message of the lane goes out."""
    zones = moments[lane]
    if len(set(zones.values())) == 1 or "time_zone" not in bound.customer_columns:
        return f"{zones[None]}::bigint"
    whens = " ".join(f"when {text(zone)} then {at}" for zone, at in zones.items() if zone is not None)
    return f"(case time_zone {whens} else {zones[None]} end)::bigint"


def lane_of(bound: Bound, offer: BoundOffer) -> str:
    """The lane of an offer's messages."""
    return bound.model.contact.purposes[offer.model.purpose].lane


def events(bound: Bound, moment: int) -> Stage:
    """History, and the contacts that got no answer in time as events `ignored`. Grain: one event."""
    key, after = quote(bound.code), bound.contact.ignored_after
    answers = ", ".join(text(answer) for answer in ANSWERS)
    return Stage(
        "events",
        "one event of a customer",
        f"""select * from history
union all by name
select c.* replace ('ignored' as event, c.happened + {after} as happened) from history as c
where c.event = 'contact' and c.happened + {after} <= {moment} and not exists (
  from history as a where a.{key} = c.{key} and a.decision_id = c.decision_id and a.event in ({answers})
  and a.happened <= c.happened + {after})""",
    )


def planned(bound: Bound, moments: Moments) -> Stage:
    """When each customer with a past would be written to, by lane. Grain: one customer with history or suppressions."""
    key = quote(bound.code)
    items = [f"{moment_of(bound, lane, moments)} as {quote(f'at.{lane}')}" for lane in moments]
    return Stage(
        "planned",
        "one customer with a past",
        f"select {listing([key, *items])}\nfrom features "
        f"where {key} in (select {key} from history union all select {key} from suppressions)",
    )


@once
def holding(bound: Bound) -> Stage:
    """The offers that must rest, each with its first rule. Grain: one customer with at least one."""
    key = quote(bound.code)
    parts = [
        *(_cap(bound, key, cap, order) for order, cap in enumerate(bound.contact.caps)),
        *(_cool_off(bound, key, rest, order) for order, rest in enumerate(bound.contact.cool_offs, 100)),
        *_suppressions(bound, key),
        *_offer_holdouts(bound, key),
    ]
    nothing = f"select {key}, 0 as place, '' as rule, 0 as rank from scored where false"
    rows = "\nunion all\n".join(part for part in [nothing, *parts] if part)
    return Stage(
        "holding",
        "one customer with an offer that must rest",
        f"select {key}, list({{'place': place, 'rule': rule}} order by place) as resting\n"
        f"from (select {key}, place, min_by(rule, rank) as rule from (\n{rows}) group by all) group by 1",
    )


def contacted(bound: Bound, moments: Moments, explore: int | None) -> Stage:
    """The offer for each customer and whether it may go out. Grain: one customer with a ranked offer.

    `place` is the best offer that may go out, or where none may the best of all; then `held_by` says by which rule. With `explore`,
    the moment in seconds, and a playbook that explores it is drawn among the best, the `choices`; `chance` is the probability it had.
    """
    key = quote(bound.code)
    own = dict.fromkeys(offer.model.purpose for offer in bound.offers)
    allowed = {name: quote(f"allowed.{name}") for name in own if bound.contact.purposes[name] is not None}
    rules = [
        f"coalesce({sql(rule, 'duckdb')}, false) as {allowed[n]}" for n, rule in bound.contact.purposes.items() if rule and n in allowed
    ]
    rest = "list_contains(coalesce(list_transform(resting, lambda r: r.place), []), x)"
    free = f"list_filter({best(bound, len(bound.offers))}, lambda x: {_may(bound, allowed, 'x')} and not {rest})"
    anyone = " and ".join(["resting is null", *allowed.values()])
    lanes = dict.fromkeys(lane_of(bound, offer) for offer in bound.offers)
    at = " ".join(
        f"when place in ({', '.join(str(p) for p, offer in enumerate(bound.offers, 1) if lane_of(bound, offer) == lane)}) "
        f"then {quote(f'at.{lane}')}"
        for lane in lanes
    )
    tried = bound.contact.exploration if explore is not None else None
    pick, chance, among = "1", "1.0::double", tried.among if tried else 1
    if tried:  # at every moment anew: what is free may follow from what an earlier draw chose, and the same draw would not be by chance
        pick, chance = drawn(f"{drawn_place(f'{tried.salt}:{explore}', key)} / {BUCKETS}"), "chances[list_position(choices, place)]"
    scores = [f"s.{quote(FIRST)}", *(f"s.{col(offer, 'rank')}" for offer in bound.offers)]
    scores += ["s.beliefs"] if tried and tried.draw == "thompson" else []
    at_lanes = [f"{moment_of(bound, lane, moments)} as {quote(f'at.{lane}')}" for lane in lanes]
    source = (
        f"select {listing([key, *scores, 'h.resting', *rules, *at_lanes])}\n"
        f"from scored as s join features using ({key}) left join holding as h using ({key})\nwhere s.{quote(FIRST)} is not null"
    )
    rested = f"list_filter(resting, lambda r: r.place = {quote(FIRST)})[1].rule"
    first = f"[{quote(FIRST)}]" if among == 1 else best(bound, among)
    chosen = f"select *, (case when {anyone} then {first} else {free} end)[:{among}] as choices from (\n{source})"
    return Stage(
        "contacted",
        "one customer with a ranked offer",
        f"""select {key}, place, resting, held_by, case {at} end as send_at, {chance} as chance, choices
from (select *, coalesce(choices[{pick}], {quote(FIRST)}) as place,
    case when len(choices) > 0 then null when not {_may(bound, allowed, quote(FIRST))} then 'consent' else {rested} end as held_by
  from ({with_chances(tried, chosen, len(bound.offers)) if tried else chosen}))""",
    )


def _may(bound: Bound, allowed: Mapping[str, str], place: str) -> str:
    """SQL: whether the customer has agreed to the purpose of the offer at `place`. `allowed`: purpose → column."""
    places = {n: [str(p) for p, offer in enumerate(bound.offers, 1) if offer.model.purpose == n] for n in allowed}
    whens = " ".join(f"when {place} in ({', '.join(places[name])}) then {column}" for name, column in allowed.items())
    return f"case {whens} else true end" if whens else "true"


def _cap(bound: Bound, key: str, cap: BoundCap, order: int) -> str:
    """A cap is full where, with this message, some window that holds it would have more than it may."""
    channel = bound.model.business.channel
    held = [
        str(place)
        for place, offer in enumerate(bound.offers, 1)
        if lane_of(bound, offer) == cap.lane and cap.purpose in (None, offer.model.purpose) and cap.channel in (None, channel)
    ]
    if not held:
        return ""
    places, rule = f"unnest([{', '.join(held)}]) as place", f"{text(f'cap:{cap.name}')} as rule, {order} as rank"
    if cap.at_most == 0:
        return f"select {key}, {places}, {rule} from scored"
    at, counted = quote(f"at.{cap.lane}"), f"h.event = 'contact' and h.lane = {text(cap.lane)}"
    counted += "".join(f" and h.{name} = {text(value)}" for name, value in (("channel", cap.channel), ("purpose", cap.purpose)) if value)
    return f"""select {key}, {places}, {rule} from (
  select distinct e.{key} from (
    select {key}, {at} as ends from planned
    union
    select p.{key}, h.happened from planned as p join history as h using ({key})
    where {counted} and h.happened > p.{at} and h.happened < p.{at} + {cap.seconds}) as e
  join history as h using ({key})
  where {counted} and h.happened > e.ends - {cap.seconds} and h.happened <= e.ends
  group by e.{key}, e.ends having count(*) >= {cap.at_most})"""


def _cool_off(bound: Bound, key: str, rest: BoundCoolOff, order: int) -> str:
    """An answer that is dated after the message holds it back all the same: it is known already."""
    offers = ", ".join(
        f"({place}, {text(offer.id)}, {text(offer.model.category)}, {quote(f'at.{lane_of(bound, offer)}')})"
        for place, offer in enumerate(bound.offers, 1)
    )
    return f"""select e.{key}, o.place, {text(f"cool_off:{rest.name}")} as rule, {order} as rank
from planned as p join events as e using ({key}), lateral (select * from (values {offers}) as v(place, offer, category, send_at)) as o
where e.event = {text(rest.after)} and e.{rest.scope} = o.{rest.scope} and e.happened > o.send_at - {rest.seconds}
group by all having count(*) >= {rest.times}"""


def _suppressions(bound: Bound, key: str) -> list[str]:
    parts = []
    for place, offer in enumerate(bound.offers, 1):
        known = {"channel": bound.model.business.channel, "category": offer.model.category, "offer": offer.id}
        hit = " or ".join(["scope = 'all'", *(f"scope = {text(scope)} and what = {text(what)}" for scope, what in known.items())])
        at = quote(f"at.{lane_of(bound, offer)}")
        parts.append(
            f"select {key}, {place} as place, 'suppressed' as rule, 200 as rank "
            f"from suppressions join planned as p using ({key}) where ({hit}) and until > p.{at}"
        )
    return parts


def _offer_holdouts(bound: Bound, key: str) -> list[str]:
    return [
        f"select {key}, {place} as place, 'holdout:offer' as rule, 300 as rank from scored "
        f"where {held_out(bound.contact.offer_holdouts[offer.id], key)}"
        for place, offer in enumerate(bound.offers, 1)
        if offer.id in bound.contact.offer_holdouts
    ]
