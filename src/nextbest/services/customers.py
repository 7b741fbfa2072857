"""One customer's rights: see everything that is kept, be left in peace, be forgotten. And what is kept no longer."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, update

from nextbest.errors import Problem, StoreError, UsageError
from nextbest.plan.records import INPUT, VERDICT
from nextbest.playbook.bind import bound
from nextbest.playbook.load import load
from nextbest.services.incoming import code_of
from nextbest.services.moment import day_of
from nextbest.services.replay import located
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace, now, salt

_ROWS = {"consents": tables.consent, "suppressions": tables.suppression, "outcomes": tables.outcome}
_SCOPES = ("all", "channel", "category", "offer")


def export_customer(customer: str | int, *, workspace: str | Path) -> dict[str, Any]:
    """Everything the workspace holds about a customer, every decision with its inputs and verdicts included.

    Raises UsageError where it holds nothing, StoreError.
    """
    code = code_of(customer)
    with Workspace(workspace, create=False) as store, store.reading() as connection:
        found: dict[str, Any] = {"customer": code, "decisions": _decisions(connection, code)}
        for name, table in _ROWS.items():
            rows = connection.execute(select(table).where(table.c.customer == code).order_by(*table.primary_key))
            found[name] = [{key: _shown(key, value) for key, value in row._mapping.items()} for row in rows]
    if not any(found[name] for name in ("decisions", *_ROWS)):
        raise UsageError([Problem("customer", "the workspace holds nothing about this code", "check the code")])
    return found


def _shown(name: str, value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC).isoformat() if name in ("happened", "until", "send_at") and value is not None else value


def _decisions(connection: Connection, code: str) -> list[dict[str, Any]]:
    d = tables.decision.c
    found = []
    for run_id, place in connection.execute(select(d.run_id, d.place).where(d.customer == code).order_by(d.run_id)).fetchall():
        try:
            item, position = located(connection, f"{run_id}-{place}")
        except UsageError:
            continue  # a reservation of a run that is not recorded yet
        header, [row] = json.loads(item.header), ledger.unpacked(item.content, whole=True).slice(position, 1).to_pylist()
        record = json.loads(row["record"])
        inputs = {name.removeprefix(INPUT): value for name, value in row.items() if name.startswith(INPUT) and value is not None}
        kept = {name: header[name] for name in ("as_of", "moment", "playbook", "data", "engine", "nextbest")}
        offers = [item["offer"] for item in header["offered"]]
        record["verdicts"] = {
            name: dict(zip(VERDICT, row, strict=True)) for name, row in zip(offers, record["verdicts"] or [], strict=False)
        }
        found.append(
            {"decision_id": f"{run_id}-{place}", **kept, **record, "inputs": inputs, "send_at": _shown("send_at", record["send_at"])}
        )
    return found


def suppress_customer(
    customer: str | int,
    until: date | datetime | str,
    *,
    workspace: str | Path,
    scope: str = "all",
    what: str | None = None,
    actor: str = "unknown",
    source: str = "",
) -> None:
    """Leave a customer in peace until a day (or moment): by all, or by one channel, category or offer (`what`).

    Raises UsageError for a scope that does not fit or an end that is past, StoreError.
    """
    if scope not in _SCOPES or (scope == "all") != (what is None):
        raise UsageError(
            [Problem("scope", f"{scope} {what or ''}".strip() + " does not fit", "all, or channel, category or offer with its name")]
        )
    end = until if isinstance(until, datetime) else datetime.combine(day_of(until), datetime.min.time(), UTC)
    if end.tzinfo is None:
        raise UsageError([Problem("until", "has no time zone", "pass a date, or a datetime with one")])
    with Workspace(workspace) as store, store.writing() as connection:
        at, last = now(connection), int(end.timestamp())
        if last <= at:
            raise UsageError([Problem("until", "lies in the past", "name a day ahead")])
        row = {"customer": code_of(customer), "scope": scope, "what": what, "until": last, "happened": at, "actor": actor, "source": source}
        ledger.add_rows(connection, tables.suppression, at, [row])


def erase_customer(
    customer: str | int, *, workspace: str | Path, actor: str = "unknown", reason: str = "", known_elsewhere: bool = False
) -> int:
    """Take a customer out of every table and every record, for good; returns how many records were emptied.

    The chain still verifies: an entry says which records were taken out. What stays is a salted hash of the code, so
    that the customer is left alone should the data bring the code again. Raises UsageError where nothing is held (unless
    the customer is `known_elsewhere`, in outputs that are kept), StoreError.
    """
    code = code_of(customer)
    with Workspace(workspace, create=False) as store, store.writing() as connection:
        at = now(connection)
        _no_run_goes_on(connection, store, at)
        places = _places(connection, code)
        for table in (tables.decision, *_ROWS.values()):
            connection.execute(delete(table).where(table.c.customer == code))
        if not places and not known_elsewhere:
            raise UsageError([Problem("customer", "the workspace holds nothing about this code", "check the code")])
        own_salt = salt(connection)
        digest = hashlib.sha256(f"{own_salt}:{code}".encode()).hexdigest()
        connection.execute(delete(tables.erased).where(tables.erased.c.digest == digest))  # erased once before: the later time counts
        connection.execute(tables.erased.insert().values(digest=digest, happened=at))
        header = {"recorded": at, "actor": actor, "reason": reason, "digest": digest, "salt": hashlib.sha256(own_salt.encode()).hexdigest()}
        ledger.take_out(connection, header, "erasure", places)
    return sum(len(taken) for taken in places.values())


def _no_run_goes_on(connection: Connection, store: Workspace, at: int) -> None:
    """Refuse while a run is at work; free what dead runs have reserved."""
    r = tables.run.c
    going = connection.execute(select(func.count()).where(r.recorded.is_(None), r.lease_until > at)).scalar_one()
    if going:
        raise StoreError([Problem(store.name, "a run goes on that may hold the customer", "try again when it is done")])
    ended = select(r.run_id).where(r.recorded.is_(None))
    connection.execute(delete(tables.decision).where(tables.decision.c.run_id.in_(ended)))
    connection.execute(update(tables.run).where(r.recorded.is_(None)).values(lease_until=None))


def _places(connection: Connection, code: str) -> dict[int, list[int]]:
    """Entry → the customer's places in it."""
    d = tables.decision.c
    found: dict[int, list[int]] = {}
    for run_id, place in connection.execute(select(d.run_id, d.place).where(d.customer == code)).fetchall():
        item, position = located(connection, f"{run_id}-{place}")
        found.setdefault(item.seq, []).append(position)
    for kind in ("consent", "suppression", "outcome"):
        for item in ledger.entries(connection, kind, content=True):
            of = ledger.unpacked(item.content)["customer"].to_pylist()
            if code in of:
                found[item.seq] = [place for place, known in enumerate(of) if known == code]
    return found


def prune(*, workspace: str | Path, playbook: str | Path = "bank-kz", as_of: date | str | None = None) -> dict[str, int]:
    """Empty what the playbook's retention no longer allows to keep; returns table → records emptied.

    A consent goes only when a later word on the same purpose and channel has replaced it. Raises PlaybookError, StoreError.
    """
    with Workspace(workspace, create=False) as store, store.writing() as connection:
        at = now(connection)
        _no_run_goes_on(connection, store, at)
        day = day_of(as_of) if as_of is not None else datetime.fromtimestamp(at, UTC).date()
        moment = int(datetime.combine(day, datetime.min.time(), UTC).timestamp())
        keep = bound(load(playbook), day).contact.retention
        places: dict[int, list[int]] = {}
        counts = {
            "decisions": _prune_decisions(connection, moment - keep["decisions"], places),
            "outcomes": _prune_rows(connection, tables.outcome, _old_outcomes(connection, moment - keep["outcomes"]), places),
            "suppressions": _prune_rows(connection, tables.suppression, _ended(connection, moment - keep["suppressions"]), places),
            "consents": _prune_rows(connection, tables.consent, _replaced(connection, moment - keep["consents"]), places),
        }
        if places:
            ledger.take_out(connection, {"recorded": at, "as_of": day.isoformat(), **counts}, "retention", places)
    return counts


def _prune_decisions(connection: Connection, before: int, places: dict[int, list[int]]) -> int:
    r, count = tables.run.c, 0
    for run_id in connection.execute(select(r.run_id).where(r.recorded < before)).scalars().all():
        for item in ledger.entries_of(connection, run_id):
            left = _left(connection, item.seq)
            if left:
                places[item.seq] = left
                count += len(left)
        connection.execute(delete(tables.decision).where(tables.decision.c.run_id == run_id))
    return count


def _left(connection: Connection, seq: int) -> list[int]:
    content = connection.execute(select(tables.entry.c.content).where(tables.entry.c.seq == seq)).scalar_one()
    return [place for place, code in enumerate(ledger.unpacked(content)["customer"].to_pylist()) if code is not None]


def _old_outcomes(connection: Connection, before: int) -> set[Any]:
    o = tables.outcome.c
    return set(connection.execute(select(o.event_id).where(o.happened < before)).scalars())


def _ended(connection: Connection, before: int) -> set[Any]:
    s = tables.suppression.c
    return set(connection.execute(select(s.suppression_id).where(s.until < before)).scalars())


def _replaced(connection: Connection, before: int) -> set[Any]:
    """Consents older than `before` that a later word has replaced."""
    c = tables.consent.c
    latest = func.row_number().over(
        partition_by=(c.customer, c.purpose, c.channel), order_by=(c.happened.desc(), c.consent_id.desc())
    )  # fmt: skip
    said = select(c.consent_id, c.happened, latest.label("n")).subquery()
    return set(connection.execute(select(said.c.consent_id).where(said.c.n > 1, said.c.happened < before)).scalars())


def _prune_rows(connection: Connection, table: Table, keys: Iterable[Any], places: dict[int, list[int]]) -> int:
    gone, key = set(keys), next(iter(table.primary_key.columns))
    if not gone:
        return 0
    count = 0
    for item in ledger.entries(connection, table.name, content=True):
        texts = ledger.unpacked(item.content)["record"].to_pylist()
        taken = [place for place, said in enumerate(texts) if said is not None and json.loads(said)[key.name] in gone]
        if taken:
            places[item.seq] = taken
            count += len(taken)
    ordered = sorted(gone)
    for start in range(0, len(ordered), 500):
        connection.execute(delete(table).where(key.in_(ordered[start : start + 500])))
    return count
