"""What the contact policy promises, one promise a test. The playbook: 3 contacts a week; 10:00–20:00, not on Sundays."""

from datetime import UTC, date, datetime

import pytest

import nextbest as nb
from nextbest.errors import PlaybookError
from nextbest.playbook.bind import bound
from nextbest.playbook.load import load

one_store = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
"""Of what the engine says alone; the others run on PostgreSQL too."""


def test_at_most_three_a_week_in_a_true_sliding_window(town):
    town.client(1)
    sent = [town.held(town.decide(f"2025-09-{day:02}T12:00"))["1"] for day in (1, 2, 3, 4, 6)]
    assert sent == [None, None, None, "cap:week", "cap:week"]
    assert town.held(town.decide("2025-09-08T11:59"))["1"] == "cap:week"
    assert town.held(town.decide("2025-09-08T12:00"))["1"] is None  # the first one is a week old to the second


def test_a_contact_in_between_may_not_overfill_a_window_either(town):
    """Deciding for an earlier moment than what is planned already: windows on both sides hold."""
    town.client(1)
    for day in (5, 8, 9):
        assert town.held(town.decide(f"2025-09-{day:02}T12:00"))["1"] is None
    assert town.held(town.decide("2025-09-04T12:00"))["1"] == "cap:week"  # 4, 5, 8, 9 lie within seven days
    assert town.held(town.decide("2025-09-02T12:00"))["1"] is None  # 2, 5, 8 do, and 5, 8, 9, but no four


@one_store
def test_what_was_held_back_says_what_would_have_been_sent(town):
    town.client(1)
    for day in (1, 2, 3):
        town.decide(f"2025-09-{day:02}T12:00")
    run = town.decide("2025-09-04T12:00")
    [(offer, send_at, held_by)] = town.rows(
        f"select offer, send_at, held_by from decision where run_id = '{run.record['workspace']['run_id']}'"
    )
    assert (offer, send_at, held_by) == ("travel-card", None, "cap:week")
    assert run.recommendations.push_notification.tolist() == [""] and run.recommendations["product"].tolist() == ["Карта для путешествий"]
    assert run.record["counts"]["held_by"] == {"cap:week": 1}


@one_store
def test_quiet_hours_and_sundays_put_a_message_off(town):
    """2025-09-07 is a Sunday."""
    town.client(1)
    wanted = {
        "2025-09-01T07:15": "2025-09-01T05:00",  # opens at 10:00 in Almaty, which is 05:00 UTC
        "2025-09-01T19:59": "2025-09-01T14:59",
        "2025-09-01T20:00": "2025-09-02T05:00",
        "2025-09-06T21:00": "2025-09-08T05:00",
    }
    for at, expected in wanted.items():
        run = nb.decide(town.bank.write(), town.playbook, as_of="2025-08-31", at=at, out=town.bank.folder / "out")
        assert str(run.messages.send_at[0])[:16].replace(" ", "T") == expected


@one_store
def test_hours_are_those_of_the_customers_own_time_zone(town):
    town.client(1, zone="Europe/Berlin").client(2, zone="Asia/Almaty").client(3, zone="Mars/Olympus").client(4)
    run = town.decide("2025-09-01T09:00")
    hours = dict(zip(run.messages.client_code, run.messages.send_at.dt.hour, strict=True))
    assert hours == {1: 8, 2: 5, 3: 5, 4: 5}  # 10:00 in summer in Berlin is 08:00 UTC; an unknown zone is the playbook's


def test_a_refused_offer_rests_and_its_category_for_less_long(town):
    town.client(1)
    first = town.decide("2025-09-01T12:00")
    town.outcomes(f"a,refused,2025-09-01T15:00:00Z,{town.decision(first, 1)}")
    assert town.decide("2025-09-10T12:00").messages.offer[0] not in ("travel-card", "premium-card", "credit-card")
    after = town.decide("2025-09-20T12:00")
    held = after.decisions.set_index("offer").held_by.dropna().to_dict()
    assert held == {"travel-card": "cool_off:refused"}
    assert after.messages.offer[0] != "travel-card"
    assert town.decide("2025-12-05T12:00").messages.offer[0] == "travel-card"


def test_an_offer_that_was_ignored_three_times_rests(town):
    town.client(1)
    for day in (1, 11, 20):
        assert town.decide(f"2025-09-{day:02}T12:00").messages.offer[0] == "travel-card"
    assert town.decide("2025-09-26T12:00").messages.offer[0] == "travel-card"  # the third may still be answered
    assert town.decide("2025-09-30T12:00").messages.offer[0] != "travel-card"


def test_an_answer_in_time_means_it_was_not_ignored(town):
    town.client(1)
    runs = [town.decide(f"2025-09-{day:02}T12:00") for day in (1, 11, 20)]
    town.outcomes(f"late-news,clicked,2025-09-12T08:00:00Z,{town.decision(runs[1], 1)}")  # told later, happened in time
    assert town.decide("2025-09-30T12:00").messages.offer[0] == "travel-card"


def test_an_accepted_offer_is_not_made_again(town):
    town.client(1)
    run = town.decide("2025-09-01T12:00")
    town.outcomes(f"a,accepted,2025-09-02T15:00:00Z,{town.decision(run, 1)}")
    assert town.decide("2025-10-10T12:00").messages.offer[0] != "travel-card"


@one_store
def test_a_service_message_neither_eats_a_marketing_cap_nor_waits_for_it(town):
    town.client(1)
    for day in (1, 2, 3):
        town.decide(f"2025-09-{day:02}T12:00")
    town.edit("offers/travel-card.yaml", ("category: cards\n", "category: cards\npurpose: service\n"))
    service = town.decide("2025-09-04T22:00")
    assert town.held(service)["1"] is None
    assert str(service.messages.send_at[0]) == "2025-09-04 17:00:00"  # at once, at 22:00 in Almaty
    town.edit("offers/travel-card.yaml", ("purpose: service\n", ""))
    assert town.held(town.decide("2025-09-05T12:00"))["1"] == "cap:week"
    assert town.held(town.decide("2025-09-08T12:00"))["1"] is None  # three marketing messages a week, the service one beside them


@one_store
def test_a_service_message_needs_no_consent_to_marketing(town):
    town.client(1, marketing="no").edit("offers/travel-card.yaml", ("category: cards\n", "category: cards\npurpose: service\n"))
    assert town.held(town.decide())["1"] is None


def test_a_suppression_holds_until_its_end(town):
    town.client(1)
    nb.suppress_customer(1, date(2030, 1, 1), workspace=town.place)
    assert town.held(town.decide("2029-12-31T12:00"))["1"] == "suppressed"
    assert town.held(town.decide("2030-01-01T12:00"))["1"] is None


def test_a_suppression_of_one_offer_leaves_the_others(town):
    town.client(1)
    nb.suppress_customer(1, date(2030, 1, 1), scope="offer", what="travel-card", workspace=town.place)
    run = town.decide("2029-12-03T12:00")
    assert town.held(run)["1"] in (None, "no_text") and run.messages.offer[0] != "travel-card"


def test_a_suppression_has_an_end_ahead_and_a_scope_that_fits(town):
    for wrong in ({"until": date(2020, 1, 1)}, {"until": date(2090, 1, 1), "scope": "offer"}, {"until": date(2090, 1, 1), "scope": "moon"}):
        with pytest.raises(nb.errors.UsageError):
            nb.suppress_customer(1, workspace=town.place, **wrong)


@one_store
def test_each_decision_says_what_rests_for_its_own_customer(town):
    for code in range(1, 9):
        town.client(code)
    for code, offer in ((2, "travel-card"), (5, "investments"), (7, "travel-card")):
        nb.suppress_customer(code, date(2030, 1, 1), scope="offer", what=offer, workspace=town.place)
    decisions = town.decide("2029-12-03T12:00").decisions
    assert decisions.client_code.is_monotonic_increasing
    rests = decisions[decisions.held_by.notna()]
    assert set(rests.held_by) == {"suppressed"}
    assert list(zip(rests.client_code, rests.offer, strict=True)) == [(2, "travel-card"), (5, "investments"), (7, "travel-card")]


@one_store
def test_below_the_minimum_there_is_no_offer_and_it_says_so(town):
    town.client(1).edit(
        "params.yaml",
        (
            "minimum_confidence: {unit: points of 100, values: {2025-01-01: 3}",
            "minimum_confidence: {unit: points of 100, values: {2025-01-01: 99}",
        ),
    )
    run = town.decide()
    assert set(run.decisions.verdict) <= {"weak", "unsuitable", "ineligible"} and "weak" in set(run.decisions.verdict)
    assert town.rows("select offer, held_by from decision") == [(None, "no_offer")]
    assert run.record["counts"]["customers"]["without_offer"] == 1


@one_store
def test_the_fallback_is_offered_where_nothing_else_is(town):
    town.client(1).edit(
        "params.yaml",
        (
            "minimum_confidence: {unit: points of 100, values: {2025-01-01: 3}",
            "minimum_confidence: {unit: points of 100, values: {2025-01-01: 99}",
        ),
    )
    town.edit("contact.yaml", ("minimum: {", "fallback: credit-card\nminimum: {"))
    assert town.decide().messages.offer.tolist() == ["credit-card"]


@one_store
def test_a_cap_of_none_means_nobody(town):
    town.client(1).edit(
        "params.yaml",
        ("contacts_a_week: {unit: contacts, values: {2025-01-01: 3}", "contacts_a_week: {unit: contacts, values: {2025-01-01: 0}"),
    )
    assert town.held(town.decide())["1"] == "cap:week"


@one_store
def test_limits_are_numbers_in_their_place(town):
    town.edit("contact.yaml", ("days: 7, lane: marketing}", "days: -1, lane: night}"), ("share: p.global_holdout", "share: 7"))
    with pytest.raises(PlaybookError) as told:
        nb.check(town.playbook)
    said = str(told.value)
    assert "contact.yaml:" in said and "unknown lane 'night'" in said and "-1 is out of place" in said and "7 is out of place" in said


def test_consent_from_the_workspace(town):
    """Blank in the file: the workspace's word counts. Yes in the file: a no in the workspace outweighs it."""
    for code, said in ((1, ""), (2, "yes"), (3, "no"), (4, "")):
        town.client(code, marketing=said)
    for code, granted in ((1, False), (2, False), (3, True), (4, True)):
        nb.consent(code, "marketing", granted, workspace=town.place, happened=datetime(2025, 8, 1, tzinfo=UTC))
    assert town.held(town.decide()) == {"1": "consent", "2": "consent", "3": "consent", "4": None}


def test_the_latest_word_counts_and_a_channel_has_its_own(town):
    town.client(1).client(2).client(3)
    for month, granted in ((1, True), (3, False), (2, True)):  # noted out of order: what happened last is the no
        nb.consent(1, "marketing", granted, workspace=town.place, happened=datetime(2025, month, 1, tzinfo=UTC))
    nb.consent(2, "marketing", False, channel="sms", workspace=town.place, happened=datetime(2025, 2, 1, tzinfo=UTC))
    nb.consent(3, "marketing", False, channel="push", workspace=town.place, happened=datetime(2025, 2, 1, tzinfo=UTC))
    assert town.held(town.decide()) == {"1": "consent", "2": None, "3": "consent"}


def test_an_objection_to_profiling_means_not_scored_at_all(town):
    town.client(1).client(2)
    nb.consent(1, "profiling", False, workspace=town.place)
    run = town.decide()
    assert set(run.decisions.client_code) == {2} == set(run.features.client_code)
    assert town.rows("select held_by from decision where customer = '1'") == [("profiling",)]


def test_an_opt_out_event_is_a_refusal_of_the_purpose(town):
    town.client(1)
    run = town.decide("2025-09-01T12:00")
    found = town.outcomes(f"x,opted_out,2025-09-02T10:00:00Z,{town.decision(run, 1)}")
    assert found.opted_out == 1
    assert town.held(town.decide("2025-10-01T12:00"))["1"] == "consent"


@one_store
def test_who_is_held_out_is_drawn_by_hash_and_left_alone(town):
    for code in range(1, 41):
        town.client(code)
    town.edit(
        "params.yaml",
        ("playbook_holdout: {unit: share, values: {2025-01-01: 0}", "playbook_holdout: {unit: share, values: {2025-01-01: 0.25}"),
    )
    run = town.decide()
    drawn = {code for code, names in nb.held_out(range(1, 41), as_of="2025-08-31", playbook=town.playbook).items() if names}
    assert drawn and drawn == {code for (code,) in town.rows("select customer from decision where held_by = 'holdout:playbook'")}
    assert not drawn & set(run.features.client_code.astype(str))
    assert "as it should be" in (run.folder / "report.html").read_text()
    again = town.decide("2025-11-01T12:00")
    assert set(run.features.client_code) == set(again.features.client_code)


@one_store
def test_an_offers_own_holdout_never_gets_that_offer(town):
    for code in range(1, 21):
        town.client(code)
    town.edit("offers/travel-card.yaml", ("category: cards\n", "category: cards\nholdout: 0.5\n"))
    run = town.decide()
    drawn = {int(code) for code, names in nb.held_out(range(1, 21), as_of="2025-08-31", playbook=town.playbook).items() if names}
    assert 0 < len(drawn) < 20
    offered = dict(zip(run.messages.client_code, run.messages.offer, strict=True))
    assert {code for code, offer in offered.items() if offer != "travel-card"} == drawn


def test_a_new_offer_is_let_in_by_steps(tmp_path):
    """Whoever may see it at a small share still may at a larger one."""
    book = nb.copy("bank-kz", tmp_path / "book")
    offer, params = book / "offers" / "gold-bars.yaml", book / "params.yaml"
    offer.write_text(offer.read_text() + "holdout: p.held_back\n")
    steps = "{2025-01-01: 0.9, 2025-10-01: 0.5, 2025-11-01: 0.02}"
    params.write_text(params.read_text() + f"held_back: {{unit: share, values: {steps}, source: a test}}\n")
    drawn = [bound(load(book), date(2025, month, 15)).contact.offer_holdouts["gold-bars"] for month in (9, 10, 11)]
    first, second, third = ({code for code in range(2000) if holdout.holds(str(code))} for holdout in drawn)
    assert third < second < first and len(first) / 2000 == pytest.approx(0.9, abs=0.03)


def test_without_a_workspace_it_says_what_was_not_heeded(town):
    town.client(1)
    run = nb.decide(town.bank.write(), town.playbook, as_of="2025-08-31", out=town.bank.folder / "alone")
    assert run.record["workspace"] is None and run.messages.decision_id.isna().all()
    assert "Decided without a workspace" in (run.folder / "report.html").read_text()
