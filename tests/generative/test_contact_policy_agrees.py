"""The contact policy in SQL against a plain reading of it in Python, over random pasts; and what it promises, whatever
the order in which things happen."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.plan.contact import HISTORY, SUPPRESSIONS
from nextbest.plan.ranking import FIRST
from nextbest.playbook.bind import bound
from nextbest.playbook.contact import ANSWERS, BUCKETS, DAY, DAYS, BoundExploration, bucket
from nextbest.playbook.load import load
from nextbest.services.job import Job

BOOK = bound(load("bank-kz"), date(2025, 8, 31))
OFFERS = {offer.id: offer for offer in BOOK.offers}
PLACES = list(OFFERS)
MOMENT = datetime(2025, 9, 1, 7, tzinfo=UTC)  # noon in Almaty, a Monday
NOW = int(MOMENT.timestamp())
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def event_rows(event, offer, happened, decision):
    return {
        "event": event, "decision_id": decision, "offer": offer, "category": OFFERS[offer].model.category,
        "channel": "push", "purpose": "marketing", "lane": "marketing", "happened": happened,
    }  # fmt: skip


@st.composite
def pasts(draw):
    """Contacts (some ahead of now) and answers to them, in whole hours so that windows' edges are hit."""
    events = []
    for number in range(draw(st.integers(0, 6))):
        sent = NOW + 3600 * draw(st.one_of(st.integers(-24 * 100, 24 * 9), st.sampled_from([-168, -167, -169, 0, 168, 167])))
        offer = draw(st.sampled_from(PLACES[:4]))
        contact = event_rows("contact", offer, sent, f"d{number}")
        contact["channel"] = draw(st.sampled_from(["push", "push", "sms"]))
        contact["lane"] = contact["purpose"] = draw(st.sampled_from(["marketing", "marketing", "service"]))
        events.append(contact)
        if draw(st.booleans()):
            kind = draw(st.sampled_from(["delivered", "clicked", "accepted", "refused", "ignored"]))
            events.append({**contact, "event": kind, "happened": sent + 3600 * draw(st.integers(-5, 300))})
    rests = []
    if draw(st.integers(0, 5)) == 0:
        scope, what = draw(
            st.sampled_from([("all", None), ("offer", PLACES[0]), ("category", "cards"), ("channel", "push"), ("channel", "sms")])
        )
        rests.append({"scope": scope, "what": what, "until": NOW + 3600 * draw(st.integers(-50, 50))})
    ranking = draw(st.permutations(range(1, 5)))[: draw(st.integers(1, 4))]
    return events, rests, ranking, draw(st.booleans())


def in_sql(customers, moment=MOMENT, book=BOOK, beliefs=()):
    """Customer → (place, held_by, send_at, resting places, chance, choices), by the engine. `beliefs`: score and error by place."""
    with DuckDBEngine(Path("/tmp")) as engine:
        codes = range(len(customers))
        table = {"client_code": codes, "consent_marketing": [agreed for *_, agreed in customers], "time_zone": [None] * len(customers)}
        engine.load(
            "features",
            pa.table(table, pa.schema([("client_code", pa.int64()), ("consent_marketing", pa.bool_()), ("time_zone", pa.string())])),
        )
        believed = [[{"score": float(score), "error": float(error)} for score, error in beliefs]] * len(customers)
        rankings = [list(ranking) for _, _, ranking, _ in customers]
        ranks = {f"{offer.id}.rank": [rank_of(place, ranking) for ranking in rankings] for place, offer in enumerate(book.offers, 1)}
        table = {"client_code": codes, FIRST: [ranking[0] for ranking in rankings], "beliefs": believed}
        kinds = {name: pa.array(column, pa.int32()) for name, column in ranks.items()}
        engine.load("scored", pa.table(table | kinds))
        for name, columns, place in (("history", HISTORY, 0), ("suppressions", SUPPRESSIONS, 1)):
            rows = [{"client_code": code, **row} for code, customer in zip(codes, customers, strict=True) for row in customer[place]]
            kinds = {"varchar": pa.string(), "bigint": pa.int64()}
            engine.load(
                name, pa.Table.from_pylist(rows, pa.schema([("client_code", pa.int64()), *((n, kinds[k]) for n, k in columns.items())]))
            )
        Job(book, engine, moment).hold()
        rests = "list_transform(resting, lambda r: (r.place, r.rule))"
        found = engine.rows(f"select client_code, place, held_by, send_at, {rests}, chance, choices from contacted")
    return {code: (place, held, at, dict(resting or []), *drawn) for code, place, held, at, resting, *drawn in found}


def rank_of(place, ranking):
    return ranking.index(place) + 1 if place in ranking else None


def window_is_full(times, at, seconds, most):
    """Whether, with a contact at `at`, some window (t - seconds, t] holds more than `most`."""
    together = [*times, at]
    return any(sum(end - seconds < time <= end for time in together) > most for end in together if end - seconds < at <= end)


def in_python(events, rests, ranking, agreed, at):
    """The same, read from the policy's own words."""
    policy, resting = BOOK.contact, {}
    answered = lambda c: any(  # noqa: E731
        e["decision_id"] == c["decision_id"] and e["event"] in ANSWERS and e["happened"] <= c["happened"] + policy.ignored_after
        for e in events
    )
    contacts = [e for e in events if e["event"] == "contact"]
    ignored = [
        {**c, "event": "ignored", "happened": c["happened"] + policy.ignored_after}
        for c in contacts
        if c["happened"] + policy.ignored_after <= NOW and not answered(c)
    ]
    for place, (name, offer) in enumerate(OFFERS.items(), 1):
        for cap in policy.caps:
            times = [
                c["happened"] for c in contacts
                if c["lane"] == cap.lane and cap.channel in (None, c["channel"]) and cap.purpose in (None, c["purpose"])
            ]  # fmt: skip
            if window_is_full(times, at, cap.seconds, cap.at_most):
                resting.setdefault(place, f"cap:{cap.name}")
        for rest in policy.cool_offs:
            mine = {"offer": name, "category": offer.model.category}[rest.scope]
            last = [
                e for e in [*events, *ignored] if e["event"] == rest.after and e[rest.scope] == mine and e["happened"] > at - rest.seconds
            ]
            if len(last) >= rest.times:
                resting.setdefault(place, f"cool_off:{rest.name}")
        for item in rests:
            mine = {"all": None, "offer": name, "category": offer.model.category, "channel": "push"}[item["scope"]]
            if item["what"] == mine and item["until"] > at:
                resting.setdefault(place, "suppressed")
    free = [place for place in ranking if agreed and place not in resting]
    held = None if free else "consent" if not agreed else resting[ranking[0]]
    return (free or ranking)[0], held, at, resting


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(st.lists(pasts(), min_size=1, max_size=25))
def test_sql_and_python_hold_back_the_same(customers):
    found = in_sql(customers)
    for code, customer in enumerate(customers):
        assert found[code][:4] == in_python(*customer, at=NOW), customer


EXPLORING = replace(BOOK, contact=replace(BOOK.contact, exploration=BoundExploration(share=0.3, among=3, salt="tried", draw="first")))


@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(st.lists(pasts(), min_size=1, max_size=25))
def test_what_is_tried_is_one_of_the_best_that_may_go_out(customers):
    found = in_sql(customers, book=EXPLORING)
    assert found == in_sql(customers, book=EXPLORING)
    for code, (events, rests, ranking, agreed) in enumerate(customers):
        _, held, _, resting = in_python(events, rests, ranking, agreed, at=NOW)
        choices = [place for place in ranking if agreed and place not in resting][:3]
        place, held_by, _, _, chance, among = found[code]
        assert held_by == held and among == choices
        if not choices:
            assert chance is None and place == ranking[0]
            continue
        chances = [0.3 / len(choices) + (0.7 if one == choices[0] else 0) for one in choices]
        draw = bucket(f"tried:{NOW}", str(code)) / BUCKETS
        assert place == choices[next(i for i in range(len(choices)) if i + 1 == len(choices) or draw < sum(chances[: i + 1]))]
        assert chance == pytest.approx(chances[choices.index(place)])


def test_each_choice_comes_as_often_as_its_chance_says():
    found = in_sql([([], [], [4, 2, 1, 3], True)] * 20_000, book=EXPLORING)
    for place, chance in ((4, 0.8), (2, 0.1), (1, 0.1), (3, 0.0)):
        drawn = [item for item in found.values() if item[0] == place]
        assert len(drawn) / 20_000 == pytest.approx(chance, abs=0.01)
        assert all(item[4] == pytest.approx(chance) for item in drawn)


def test_another_moment_draws_anew():
    """Else who was tried the second offer today would be tried the second of what is left, and never the first."""
    customers = [([], [], [4, 2, 1], True)] * 5_000
    one, two = in_sql(customers, book=EXPLORING), in_sql(customers, MOMENT + timedelta(seconds=1), book=EXPLORING)
    tried = [code for code, item in one.items() if item[0] != 4]
    assert sum(two[code][0] == 4 for code in tried) / len(tried) == pytest.approx(0.8, abs=0.04)


THOMPSON = replace(BOOK, contact=replace(BOOK.contact, exploration=BoundExploration(share=0.1, among=3, salt="tried", draw="thompson")))


@settings(max_examples=6, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0.01, 2)), min_size=4, max_size=4))
def test_thompson_draws_each_as_often_as_it_may_be_the_best(beliefs):
    """Beside many draws from the same beliefs: three of four offers are judged, by their place and not by their order."""
    found = in_sql([([], [], [4, 2, 1, 3], True)] * 4_000, book=THOMPSON, beliefs=beliefs)
    mean, error = (np.array(each)[[3, 1, 0]] for each in zip(*beliefs, strict=True))
    drawn = np.random.default_rng(0).normal(mean, error, (200_000, 3)).argmax(axis=1)
    expected = 0.1 / 3 + 0.9 * np.bincount(drawn, minlength=3) / len(drawn)
    chances = {place: chance for place, *_, chance, _ in found.values()}
    for place, likely in zip((4, 2, 1), expected, strict=True):
        if place in chances:
            assert chances[place] == pytest.approx(likely, abs=0.03)
            assert sum(item[0] == place for item in found.values()) / len(found) == pytest.approx(chances[place], abs=0.04)
    assert 3 not in chances and (len(chances) < 3 or sum(chances.values()) == pytest.approx(1))


def test_thompson_with_nothing_uncertain_takes_the_first():
    found = in_sql([([], [], [4, 2, 1, 3], True)] * 300, book=THOMPSON, beliefs=[(1, 0), (3, 0), (0, 0), (3, 0)])  # two alike
    assert len({item[0] for item in found.values()}) > 1
    assert all(item[4] == pytest.approx(0.1 / 3 + (0.9 if item[0] == 4 else 0)) for item in found.values())


def test_without_exploration_the_first_goes_out_for_certain():
    assert in_sql([([], [], [4, 2, 1], True)])[0][4:] == (1.0, [4])


@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.tuples(st.integers(0, 24 * 30), st.sampled_from(["none", "clicked", "refused", "accepted"])), min_size=10, max_size=25))
def test_whatever_the_order_no_promise_is_broken(steps):
    """Moments come in any order, answers as they like: looking back, no window was ever too full, no rest broken, no hour quiet."""
    events: list[dict] = []
    for number, (hours, answer) in enumerate(steps):
        moment = MOMENT + timedelta(hours=hours)
        [(place, held, at, *_)] = in_sql([(events, [], [1, 2, 3], True)], moment).values()
        if held is not None:
            continue
        contact = event_rows("contact", PLACES[place - 1], at, f"d{number}")
        for other in events:  # an offer refused or accepted is not made again while it rests
            if other["event"] in ("refused", "accepted") and other["offer"] == contact["offer"]:
                rest = next(r for r in BOOK.contact.cool_offs if r.after == other["event"] and r.scope == "offer")
                assert not other["happened"] <= at < other["happened"] + rest.seconds
        events.append(contact)
        if answer != "none":
            events.append({**contact, "event": answer, "happened": at + 1800})
    sent = sorted(e["happened"] for e in events if e["event"] == "contact")
    for cap in BOOK.contact.caps:
        assert all(sum(end - cap.seconds < time <= end for time in sent) <= cap.at_most for end in sent)
    for at in sent:
        local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo("Asia/Almaty"))
        assert 10 <= local.hour < 20 and local.weekday() != DAYS.index("sun")


def test_the_edges_of_a_week():
    """Three contacts exactly a week ago do not count; a second later they would."""
    week = [event_rows("contact", PLACES[3], NOW - 7 * DAY, f"d{n}") for n in range(3)]
    late = [event_rows("contact", PLACES[3], NOW - 7 * DAY + 1, f"d{n}") for n in range(3)]
    found = in_sql([(week, [], [1], True), (late, [], [1], True)])
    assert found[0][1] is None and found[1][1] == "cap:week"


@pytest.mark.parametrize("months", [3, 10])  # clocks change at the end of both
def test_hours_hold_across_a_change_of_clocks(months):
    from nextbest.playbook.contact import next_opening

    sending = BOOK.model.contact.lanes["marketing"].sending
    for hour in range(24 * 10):
        moment = datetime(2025, months, 24, tzinfo=UTC) + timedelta(hours=hour)
        opening = next_opening(moment, "Europe/Berlin", sending)
        local = opening.astimezone(ZoneInfo("Europe/Berlin"))
        assert opening >= moment and 10 <= local.hour < 20 and local.weekday() != 6
