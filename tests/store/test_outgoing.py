"""What is recorded is handed over at least once, in the ledger's order, and only what may still be said."""

import json
from dataclasses import dataclass, field

import pytest

from nextbest.channels.base import Delivery, Undelivered
from nextbest.services import outgoing
from nextbest.services.customers import erase_customer
from nextbest.services.outgoing import Receiver, deliveries, hand_over, subscribe, try_again, waiting
from nextbest.store.workspace import Workspace


@dataclass
class Recorder:
    """A channel that keeps what it is given; `fails` says what becomes of a key."""

    got: list[Delivery] = field(default_factory=list)
    fails: dict[str, Undelivered] = field(default_factory=dict)
    down: bool = False

    def deliver(self, delivery: Delivery) -> None:
        if self.down:
            raise Undelivered("the receiver answered 503", again=True)
        if delivery.key in self.fails:
            raise self.fails[delivery.key]
        self.got.append(delivery)

    @property
    def bodies(self) -> list[dict]:
        return [json.loads(delivery.body) for delivery in sorted(self.got, key=lambda item: item.key)]


def receiver(channel, events=("decision", "message"), may=lambda customer, offer: True, address="https://bank.example/hook"):
    return Receiver(address, channel, "bank-kz", tuple(events), may)


@pytest.fixture
def store(place):
    with Workspace(place) as found:
        yield found


def test_every_recorded_decision_and_message_is_handed_over(town, store):
    channel = Recorder()
    to = receiver(channel)
    subscribe(store, to)
    run = town.client(1).client(2, marketing="no").decide()
    assert waiting(store, to) and hand_over(store, to) == 3
    assert [(item["type"], item["data"]["customer"]) for item in channel.bodies] == [
        ("nextbest.decision", "1"), ("nextbest.message", "1"), ("nextbest.decision", "2"),
    ]  # fmt: skip
    message = next(item["data"] for item in channel.bodies if item["type"] == "nextbest.message")
    first = run.decisions[(run.decisions.client_code == 1) & (run.decisions["rank"] == 1)].iloc[0]
    assert message["text"] == run.messages.message.dropna().iloc[0] and message["offer"] == first.offer
    assert message["channel"] == "push" and message["send_at"].endswith("+00:00")
    decision = channel.bodies[0]["data"]
    assert decision["offers"][0]["offer"] == first.offer and decision["offers"][0]["benefit"] == pytest.approx(float(first.benefit))
    assert decision["decision_id"] == run.messages.decision_id.iloc[0] and decision["held_by"] is None
    assert channel.bodies[2]["data"]["held_by"] == "consent"
    assert not waiting(store, to) and hand_over(store, to) == 0


def test_a_receiver_hears_what_comes_after_it_was_named(town, store):
    town.client(1).decide()
    channel = Recorder()
    subscribe(store, receiver(channel))
    assert hand_over(store, receiver(channel)) == 0
    town.decide(at="2025-10-01T12:00")
    assert hand_over(store, receiver(channel, ["message"])) == 1


def test_a_receiver_that_sleeps_loses_nothing_and_holds_up_nobody(town, store, monkeypatch):
    asleep, awake = Recorder(down=True), Recorder()
    slow, quick = receiver(asleep, ["message"]), receiver(awake, ["message"], address="https://other.example/")
    for to in (slow, quick):
        subscribe(store, to)
    town.client(1).client(2).decide()
    assert (hand_over(store, slow), hand_over(store, quick)) == (0, 2)
    standing = deliveries(store, slow)
    assert (standing["attempt"], standing["problem"], standing["behind"]) == (1, "the receiver answered 503", 1)
    asleep.down = False
    assert hand_over(store, slow) == 0  # not yet: it waits before it tries again
    later(monkeypatch, 6)
    assert hand_over(store, slow) == 2 and deliveries(store, slow)["problem"] is None


def test_waits_grow_and_can_be_cut_short(town, store, monkeypatch):
    channel = Recorder(down=True)
    to = receiver(channel, ["message"])
    subscribe(store, to)
    town.client(1).decide()
    for wait in (0, 6, 11, 21):
        later(monkeypatch, wait)
        hand_over(store, to)
    assert deliveries(store, to)["attempt"] == 4
    channel.down = False
    assert hand_over(store, to) == 0
    try_again(store, to)
    assert hand_over(store, to) == 1


def test_what_is_refused_is_set_aside_and_the_others_go_on(town, store):
    channel = Recorder()
    to = receiver(channel, ["message"])
    subscribe(store, to)
    run = town.client(1).client(2).client(3).decide()
    key = f"{run.messages.decision_id.iloc[1]}-message"
    channel.fails[key] = Undelivered("the receiver answered 400", again=False)
    assert hand_over(store, to) == 2
    assert deliveries(store, to)["set_aside"] == {"the receiver answered 400": 1} and not waiting(store, to)
    channel.fails.clear()
    assert try_again(store, to) == 1
    assert hand_over(store, to) == 1 and deliveries(store, to)["set_aside"] == {}
    assert len({item.key for item in channel.got}) == 3


def test_one_that_always_fails_holds_up_nobody_and_the_others_go_once(town, store, monkeypatch):
    channel = Recorder()
    to = receiver(channel, ["message"])
    subscribe(store, to)
    run = town.client(1).client(2).decide()
    channel.fails[f"{run.messages.decision_id.iloc[0]}-message"] = Undelivered("the receiver answered 500", again=True)
    for _ in range(4):
        hand_over(store, to)
        later(monkeypatch, 4000)
    assert waiting(store, to)  # it is tried again, ever more rarely
    town.client(3).decide(at="2025-10-01T12:00")
    hand_over(store, to)
    assert len(channel.got) == len({item.key for item in channel.got}) == 4
    assert not waiting(store, to) and deliveries(store, to)["set_aside"] == {"the receiver answered 500": 1}


def test_a_receiver_that_takes_a_few_at_a_time_gets_them_all_once(town, store, monkeypatch):
    class Busy(Recorder):
        left = 0

        def deliver(self, delivery):
            if self.left <= 0:
                raise Undelivered("the receiver answered 429", again=True, busy=True)
            self.left -= 1
            super().deliver(delivery)

    monkeypatch.setattr(outgoing, "_AT_ONCE", 1)
    channel = Busy()
    to = receiver(channel, ["message"])
    subscribe(store, to)
    for code in range(1, 13):
        town.client(code)
    run = town.decide()
    for _ in range(12):
        channel.left = 2
        hand_over(store, to)
        later(monkeypatch, 60)
    assert len(channel.got) == 12 and {item.key for item in channel.got} == {f"{number}-message" for number in run.messages.decision_id}
    assert deliveries(store, to)["set_aside"] == {}


def test_what_may_not_be_said_any_more_is_not(town, store):
    channel = Recorder()
    refused = {"1"}
    to = receiver(channel, may=lambda customer, offer: customer != "3" and (offer is None or customer not in refused))
    subscribe(store, to)
    town.client(1).client(2).client(3).decide()
    hand_over(store, to)
    assert [(item["type"][9:], item["data"]["customer"]) for item in channel.bodies] == [
        ("decision", "1"), ("decision", "2"), ("message", "2"),
    ]  # fmt: skip


def test_who_was_erased_meanwhile_is_not_handed_over(town, store, place):
    channel = Recorder()
    to = receiver(channel)
    subscribe(store, to)
    town.client(1).client(2).decide()
    erase_customer("1", workspace=place, actor="test", reason="asked")
    hand_over(store, to)
    assert {item["data"]["customer"] for item in channel.bodies} == {"2"}


def test_other_playbooks_are_other_receivers(town, store):
    channel = Recorder()
    to = Receiver("https://bank.example/hook", channel, "retail-bank", ("message",), lambda customer, offer: True)
    subscribe(store, to)
    town.client(1).decide()
    assert hand_over(store, to) == 0 and not waiting(store, to)


def test_a_crash_at_any_event_loses_none(town, store, monkeypatch):
    """Killed in the middle, however often: whoever comes next hands over what was not noted."""
    monkeypatch.setattr(outgoing, "_CHUNK", 2)

    class Dying(Recorder):
        left = 0

        def deliver(self, delivery):
            if self.left == 0:
                raise MemoryError
            self.left -= 1
            super().deliver(delivery)

    channel = Dying()
    to = receiver(channel)
    subscribe(store, to)
    for code in range(1, 8):
        town.client(code)
    run = town.decide()
    deaths = 0
    while waiting(store, to) and deaths < 12:
        channel.left = 6  # one chunk of two customers, and half of the next
        try:
            hand_over(store, to)
        except MemoryError:
            deaths += 1
            later(monkeypatch, 200)  # the lease of the dead ends
    assert 2 <= deaths < 12
    keys = {item.key for item in channel.got}
    assert keys == {f"{number}-{kind}" for number in run.messages.decision_id for kind in ("decision", "message")}


def later(monkeypatch, seconds):
    """Time goes on."""
    import time

    at = time.time() + seconds
    monkeypatch.setattr("time.time", lambda: at)  # it stands still from here
