"""Ranks are columns that compare each offer with each."""

import random
from types import SimpleNamespace

import duckdb
import pytest

from nextbest.plan import ranking


@pytest.mark.parametrize("offers", [1, 2, 10, 140])
def test_the_best_score_stands_first_and_of_equals_the_one_named_first(offers):
    draw = random.Random(offers)
    scores = [[draw.choice([None, 0, 1, 2.5, draw.random()]) for _ in range(offers)] for _ in range(20)]
    book = SimpleNamespace(
        offers=[SimpleNamespace(id=f"o{n}") for n in range(offers)], model=SimpleNamespace(contact=SimpleNamespace(fallback=""))
    )
    given = ", ".join(
        f"coalesce(scores[{n + 1}], {ranking.CLOSED}) as {ranking.col(offer, 'order')}" for n, offer in enumerate(book.offers)
    )
    rows = duckdb.sql(
        f"select {', '.join(ranking.ranks(book))} from (select {given} from (select unnest($scores) as scores))", params={"scores": scores}
    )
    for own, found in zip(scores, rows.fetchall(), strict=True):
        order = sorted((n for n in range(offers) if own[n] is not None), key=lambda n: (-own[n], n))
        assert found == tuple(order.index(n) + 1 if n in order else None for n in range(offers))
