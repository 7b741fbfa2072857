"""Outgoing: hand what was recorded over to channels, at least once, whatever dies meanwhile.

The ledger is the queue: what is in it is decided for good, in an order, and without those erased. The outbox keeps how far
each receiver is, so that recording costs nothing more, and a receiver that sleeps for a week holds up nobody.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from nextbest.channels.base import Channel, Delivery, Undelivered
from nextbest.plan.records import VERDICT
from nextbest.store import ledger
from nextbest.store.tables import entry, outbox, undelivered
from nextbest.store.workspace import Workspace, now

EVENTS = ("decision", "message")
_CHUNK = 100
"""Records between two notes of how far a receiver is: so many are handed over again after a kill."""
_AT_ONCE = 8
_FIRST_WAIT, _LONGEST_WAIT = 5, 3600
_MOST_ATTEMPTS = 5
"""After which an event that fails, while others are taken, stands aside until somebody asks for it. A busy receiver's do not count."""


@dataclass(frozen=True)
class Receiver:
    """Whom events of one playbook go to. `may(customer, offer)`: whether the event may still go out (offer: None for a decision)."""

    address: str
    channel: Channel
    playbook: str
    events: tuple[str, ...]
    may: Callable[[str, str | None], bool]

    @property
    def name(self) -> str:
        """What the outbox knows it by: an address may hold a token."""
        return hashlib.sha256(self.address.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Event:
    """One record's event, and where in the ledger the record is. Without a delivery it may not be said any more."""

    seq: int
    place: int
    kind: str
    delivery: Delivery | None
    attempt: int = 0


def subscribe(workspace: Workspace, receiver: Receiver) -> None:
    """Begin with what is recorded from now on; one who is known goes on from where they were."""
    with workspace.writing() as connection:
        if connection.execute(select(outbox).where(_of(receiver))).first() is None:
            row = {
                "receiver": receiver.name,
                "playbook": receiver.playbook,
                "seq": _head(connection) + 1,
                "place": 0,
                "attempt": 0,
                "next_at": 0,
            }
            connection.execute(outbox.insert().values(row))


def hand_over(workspace: Workspace, receiver: Receiver, stopping: Callable[[], bool] = lambda: False, lease: int = 60) -> int:
    """Hand over what waits, until nothing does, the receiver takes nothing, or `stopping`. Returns how many events were taken.

    One process at a time serves a receiver, another after its `lease` (seconds) has ended; a slow one that comes back then
    makes for the same events twice, never for a lost one. Raises StoreError.
    """
    taken = 0
    with workspace.writing() as connection:
        at = now(connection)
        held = at + lease
        free = and_(_of(receiver), outbox.c.next_at <= at, or_(outbox.c.lease_until.is_(None), outbox.c.lease_until <= at))
        if connection.execute(update(outbox).where(free).values(lease_until=held)).rowcount == 0:
            return 0
    try:
        for events, after in chain(_waiting(workspace, receiver), _again(workspace, receiver)):
            if stopping():
                break
            failed = _deliver(receiver, [event for event in events if event.delivery])
            taken += sum(event.delivery is not None for event in events) - len(failed)
            held, go_on = _note(workspace, receiver, events, failed, after, held, lease)
            if not go_on:
                break
    finally:
        with workspace.writing() as connection:
            connection.execute(update(outbox).where(_of(receiver), outbox.c.lease_until == held).values(lease_until=None))
    return taken


def waiting(workspace: Workspace, receiver: Receiver) -> bool:
    """Whether anything waits that may be handed over now: the quick look, which holds nobody up."""
    with workspace.reading() as connection:
        at = connection.execute(select(outbox).where(_of(receiver))).one_or_none()
        if at is None or max(at.next_at, at.lease_until or 0) > time.time():
            return False
        more = select(entry.c.seq).where(entry.c.seq >= at.seq).limit(1)
        due = and_(undelivered.c.again.is_(True), undelivered.c.next_at <= time.time())
        again = select(undelivered.c.seq).where(_aside(receiver), due).limit(1)
        return connection.execute(more).first() is not None or connection.execute(again).first() is not None


def deliveries(workspace: Workspace, receiver: Receiver) -> dict[str, Any]:
    """How a receiver stands: entries of the ledger before its next one and after, attempts in vain, what was set aside and why."""
    with workspace.reading() as connection:
        at = connection.execute(select(outbox).where(_of(receiver))).one_or_none()
        head = _head(connection)
        u = undelivered.c
        aside = connection.execute(select(u.problem, func.count()).where(_aside(receiver)).group_by(u.problem).order_by(u.problem)).all()
    return {
        "receiver": receiver.name,
        "playbook": receiver.playbook,
        "events": list(receiver.events),
        "behind": max(0, head - at.seq + 1) if at else 0,
        "attempt": at.attempt if at else 0,
        "problem": at.problem if at else None,
        "set_aside": {problem: count for problem, count in aside},
    }


def try_again(workspace: Workspace, receiver: Receiver) -> int:
    """Hand over again, soon, what was set aside, and wait no longer for a receiver that failed; returns how many events."""
    with workspace.writing() as connection:
        connection.execute(update(outbox).where(_of(receiver)).values(next_at=0))
        return connection.execute(update(undelivered).where(_aside(receiver)).values(again=True, attempt=0, next_at=0)).rowcount


def _head(connection: Connection) -> int:
    return int(connection.execute(select(func.max(entry.c.seq))).scalar() or 0)


def _of(receiver: Receiver) -> Any:
    return and_(outbox.c.receiver == receiver.name, outbox.c.playbook == receiver.playbook)


def _aside(receiver: Receiver) -> Any:
    return and_(undelivered.c.receiver == receiver.name, undelivered.c.playbook == receiver.playbook)


def _waiting(workspace: Workspace, receiver: Receiver) -> Iterator[tuple[list[_Event], tuple[int, int]]]:
    """Events in the ledger's order, some at a time, each with the place after them."""
    with workspace.reading() as connection:
        at = connection.execute(select(outbox).where(_of(receiver))).one()
    seq, place, found = at.seq, at.place, list[_Event]()
    while True:
        with workspace.reading() as connection:
            head = _head(connection)
            among = and_(entry.c.seq.between(seq, head), entry.c.kind == "decision")
            row = connection.execute(select(entry.c.seq, entry.c.header).where(among).order_by(entry.c.seq).limit(1)).one_or_none()
        if row is None:
            if head >= seq:
                seq, place = head + 1, 0
            break
        header = json.loads(row.header)
        if row.seq > seq:
            seq, place = row.seq, 0
        if header["playbook"]["name"] == receiver.playbook:
            with workspace.reading() as connection:
                content = connection.execute(select(entry.c.content).where(entry.c.seq == row.seq)).scalar_one()
            texts = ledger.unpacked(content)["record"].slice(place)
            for start in range(0, len(texts), _CHUNK):
                part = texts.slice(start, _CHUNK).to_pylist()
                for own, text in enumerate(part, place + start):
                    if text is not None:  # else erased
                        found += _events(receiver, row.seq, own, header, json.loads(text))
                if len(found) >= _CHUNK:
                    yield found, (row.seq, place + start + len(part))
                    found = []
        seq, place = row.seq + 1, 0
    if found or (seq, place) != (at.seq, at.place):
        yield found, (seq, place)


def _events(receiver: Receiver, seq: int, place: int, header: dict[str, Any], record: dict[str, Any]) -> Iterator[_Event]:
    customer, offer = record["customer"], record["offer"]
    if not receiver.may(customer, None):
        return
    number = f"{header['run_id']}-{header['first'] + place}"
    common = {"decision_id": number, "customer": customer, "playbook": receiver.playbook, "as_of": header["as_of"]}
    if "decision" in receiver.events:
        verdicts = [dict(zip(VERDICT, row, strict=True)) for row in record["verdicts"] or []]
        offers = [item["offer"] for item in header["offered"]] if verdicts else []
        shown = ("rank", "benefit", "propensity")
        known = [{"offer": name} | {key: row[key] for key in shown} for name, row in zip(offers, verdicts, strict=True)]
        ranked = sorted((item for item in known if item["rank"] is not None), key=lambda item: item["rank"])
        yield _Event(seq, place, "decision", _delivery("decision", header, common | {"offers": ranked, "held_by": record["held_by"]}))
    if "message" in receiver.events and record["text"] and record["send_at"] is not None and receiver.may(customer, offer):
        channel = next(item["channel"] for item in header["offered"] if item["offer"] == offer)
        said = {name: record[name] for name in ("offer", "language", "treatment", "text")}
        said |= {"channel": channel, "send_at": _moment(record["send_at"])}
        yield _Event(seq, place, "message", _delivery("message", header, common | said))


def _delivery(kind: str, header: dict[str, Any], data: dict[str, Any]) -> Delivery:
    body = {"type": f"nextbest.{kind}", "timestamp": _moment(header["recorded"]), "data": data}
    return Delivery(f"{data['decision_id']}-{kind}", json.dumps(body, ensure_ascii=False).encode())


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _deliver(receiver: Receiver, events: list[_Event]) -> list[tuple[_Event, Undelivered]]:
    """Hand events over, several at once; returns those that were not taken, in their order."""

    def one(event: _Event) -> tuple[_Event, Undelivered] | None:
        try:
            assert event.delivery is not None
            receiver.channel.deliver(event.delivery)
        except Undelivered as why:
            return event, why
        return None

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return [failed for failed in threads.map(one, events) if failed is not None]


def _note(
    workspace: Workspace,
    receiver: Receiver,
    events: list[_Event],
    failed: list[tuple[_Event, Undelivered]],
    after: tuple[int, int] | None,
    held: int,
    lease: int,
) -> tuple[int, bool]:
    """Keep how far the receiver is; returns the new end of the lease, and whether to go on. `after` is None for what came again.

    Where it took nothing at all, it is where it was, and waited for. Else it goes on, and what failed stands aside: to be
    tried again, or, where it was refused or failed too often, until somebody asks for it.
    """
    due = sum(event.delivery is not None for event in events)
    down = after is not None and 0 < due == len(failed) and all(why.again for _, why in failed)
    with workspace.writing() as connection:
        at = now(connection)
        attempt = connection.execute(select(outbox.c.attempt).where(_of(receiver))).scalar_one()
        values: dict[str, Any] = {"lease_until": at + lease}
        if down:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)
            values |= {"attempt": attempt + 1, "next_at": at + wait, "problem": failed[0][1].what}
        elif after is not None:
            busy = next((why.what for _, why in failed if why.busy), None)  # it takes some: no faster, then
            values |= {"seq": after[0], "place": after[1], "attempt": 0, "next_at": at + _FIRST_WAIT if busy else 0, "problem": busy}
        if connection.execute(update(outbox).where(_of(receiver), outbox.c.lease_until == held).values(values)).rowcount == 0:
            return held, False  # too slow: another process serves the receiver now
        if after is None:
            for event in events:
                connection.execute(delete(undelivered).where(_own(receiver, event)))
        if not down:
            for event, why in failed:
                _set_aside(connection, receiver, event, why, at)
        return at + lease, not values.get("next_at")


def _set_aside(connection: Connection, receiver: Receiver, event: _Event, why: Undelivered, at: int) -> None:
    attempt = event.attempt + (not why.busy)
    wait = min(_LONGEST_WAIT, _FIRST_WAIT * 6**attempt)
    connection.execute(delete(undelivered).where(_own(receiver, event)))
    row = {
        "receiver": receiver.name, "playbook": receiver.playbook, "seq": event.seq, "place": event.place, "event": event.kind,
        "problem": why.what, "happened": at, "attempt": attempt, "next_at": at + wait, "again": why.again and attempt < _MOST_ATTEMPTS,
    }  # fmt: skip
    connection.execute(undelivered.insert().values(row))


def _own(receiver: Receiver, event: _Event) -> Any:
    u = undelivered.c
    return and_(_aside(receiver), u.seq == event.seq, u.place == event.place, u.event == event.kind)


def _again(workspace: Workspace, receiver: Receiver) -> Iterator[tuple[list[_Event], None]]:
    """What stands aside and shall be tried again, once."""
    u = undelivered.c
    with workspace.reading() as connection:
        waits = select(undelivered).where(_aside(receiver), u.again.is_(True), u.next_at <= time.time()).order_by(u.seq, u.place, u.event)
        rows = connection.execute(waits).all()
    for start in range(0, len(rows), _CHUNK):
        with workspace.reading() as connection:
            yield [_one(connection, receiver, row) for row in rows[start : start + _CHUNK]], None


def _one(connection: Connection, receiver: Receiver, row: Any) -> _Event:
    """An event that stood aside: without a delivery, if its record was erased or may not be spoken of any more."""
    found = connection.execute(select(entry).where(entry.c.seq == row.seq)).one()
    text = ledger.unpacked(found.content)["record"][row.place].as_py()
    header = json.loads(found.header)
    events = _events(receiver, row.seq, row.place, header, json.loads(text)) if text is not None else ()
    delivery = next((event.delivery for event in events if event.kind == row.event), None)
    return _Event(row.seq, row.place, row.event, delivery, row.attempt)
