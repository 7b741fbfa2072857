"""Ranking: the places of a customer's offers from their scores, in columns side by side."""

from nextbest.plan.stage import quote
from nextbest.playbook.bind import Bound, BoundOffer

FIRST = "first place"
"""The column of scored with the place in the playbook of the best offer; null where none is open."""
CLOSED = "'-infinity'::double"


def col(offer: BoundOffer, name: str) -> str:
    """The column of scored that holds a figure of an offer, quoted."""
    return quote(f"{offer.id}.{name}")


def is_open(offer: BoundOffer, *stages: str) -> str:
    """SQL over scored: whether nothing speaks against the offer, at these stages neither."""
    return " and ".join(col(offer, name) for name in ("eligible", "applicable", "suitable", *stages))


def orders(bound: Bound) -> list[str]:
    """Items of a SELECT: what each offer ranks by, minus infinity where it is not open."""
    return [
        f"case when {is_open(offer, 'strong')} then coalesce({col(offer, 'score')}, {CLOSED}) else {CLOSED} end as {col(offer, 'order')}"
        for offer in bound.offers
    ]


def ranks(bound: Bound) -> list[str]:
    """Items of a SELECT over `orders`: each open offer's rank, from 1, the best. Equal scores stand in the playbook's order.

    A customer with none gets the fallback, weak as it may be, where it is open to them. To compare each offer with each takes a
    third of the time of sorting a short list.
    """
    own = [col(offer, "order") for offer in bound.offers]
    items = []
    for place, offer in enumerate(bound.offers):
        better = [f"cast({other} {'>=' if n < place else '>'} {own[place]} as smallint)" for n, other in enumerate(own) if n != place]
        rank = f"case when {own[place]} > {CLOSED} then {' + '.join(['1', *better])} end"
        if offer.id == bound.model.contact.fallback:
            rank = f"case when greatest({', '.join(own)}) = {CLOSED} and {is_open(offer)} then 1 else {rank} end"
        items.append(f"cast({rank} as integer) as {col(offer, 'rank')}")
    return items


def place_of(bound: Bound, rank: int) -> str:
    """SQL over `ranks`: the place of the offer of this rank."""
    whens = " ".join(f"when {col(offer, 'rank')} then {place}" for place, offer in enumerate(bound.offers, 1))
    return f"case {rank} {whens} end"


def best(bound: Bound, most: int) -> str:
    """SQL over `ranks`: a list of the places of the best offers, so many at most."""
    places = ", ".join(place_of(bound, rank) for rank in range(1, min(most, len(bound.offers)) + 1))
    return f"list_filter([{places}], lambda x: x is not null)"
