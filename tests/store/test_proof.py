"""What we promise under fire: many processes at once, kills at any moment, faults of the machine, a forger.

Counts are small here, so that CI stays short; `make proof` runs them in full.
"""

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import nextbest as nb
from nextbest.errors import StoreError
from nextbest.playbook.contact import DAY
from nextbest.services.job import Job
from nextbest.store import workspace as workspace_module

FULL = os.environ.get("NEXTBEST_PROOF") == "full"
KILLS, EDITS = (200, 1000) if FULL else (8, 60)

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["nextbest", "psycopg"])


def decide(data, playbook, place, at, out):
    nb.decide(data, playbook, as_of="2025-08-31", at=at, out=out, workspace=place)


def started(town, at, out):
    process = FORK.Process(target=decide, args=(town.bank.folder / "data", town.playbook, town.place, at, town.bank.folder / out))
    process.start()
    return process


def contacts(town):
    """Customer → when the recorded contacts go out."""
    found: dict[str, list[int]] = {}
    for customer, send_at in town.rows(
        "select customer, send_at from decision join run on run.run_id = decision.run_id where recorded is not null and send_at is not null"
    ):
        found.setdefault(customer, []).append(send_at)
    return found


def overruns(times, seconds=7 * DAY, most=3):
    return sum(sum(end - seconds < time <= end for time in times) > most for end in times)


@pytest.mark.parametrize("processes", [2, 4, 8] if FULL else [2, 5])
def test_processes_deciding_at_once_never_exceed_a_cap(town, processes):
    for code in range(1, 5):
        town.client(code)
    town.bank.write()
    town.edit(
        "params.yaml",
        ("contacts_a_day: {unit: contacts, values: {2025-01-01: 1}", "contacts_a_day: {unit: contacts, values: {2025-01-01: 9}"),
    )
    moments = [f"2025-09-{1 + n // 2:02}T{11 + 4 * (n % 2):02}:00" for n in range(processes)]
    running = [started(town, at, f"out-{n}") for n, at in enumerate(moments)]
    for process in running:
        process.join(300)
    assert [process.exitcode for process in running] == [0] * processes
    found = contacts(town)
    assert {customer: len(times) for customer, times in found.items()} == {str(code): min(processes, 3) for code in range(1, 5)}
    assert sum(map(overruns, found.values())) == 0
    assert nb.verify(town.place).whole


@pytest.mark.parametrize("processes", [8] if FULL else [3])
def test_processes_with_the_same_run_contact_once_and_write_the_same(town, processes):
    for code in range(1, 5):
        town.client(code)
    town.bank.write()
    running = [started(town, "2025-09-01T12:00", f"out-{n}") for n in range(processes)]
    for process in running:
        process.join(300)
    assert [process.exitcode for process in running] == [0] * processes
    assert {customer: len(times) for customer, times in contacts(town).items()} == {str(code): 1 for code in range(1, 5)}
    texts = {(town.bank.folder / f"out-{n}" / "recommendations.csv").read_bytes() for n in range(processes)}
    assert len(texts) == 1 and nb.verify(town.place).whole


def test_killed_at_any_moment_nothing_is_lost_or_doubled(town, capsys):
    for code in range(1, 4):
        town.client(code)
    town.bank.write()
    chance, start = random.Random(1), datetime(2025, 9, 1, 12, tzinfo=UTC)
    begun = time.perf_counter()
    whole = started(town, (start - timedelta(days=30)).isoformat(), "warm")
    whole.join()
    length, recorded = time.perf_counter() - begun, Counter()
    for number in range(KILLS):
        at = (start + timedelta(days=number)).isoformat()
        process = started(town, at, "killed")
        time.sleep(chance.uniform(0, 1.1 * length))
        with suppress(ProcessLookupError):  # it may be done already
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        before = town.rows("select count(*) from run where recorded is not null")[0][0]
        recorded["recorded before the kill" if before == number + 2 else "not yet recorded"] += 1
        if number % 10 == 0:
            assert nb.verify(town.place).whole
        run = town.decide(at)  # a rerun completes
        run_id = run.record["workspace"]["run_id"]
        decided = town.rows(f"select customer, count(*) from decision where run_id = '{run_id}' group by 1 order by 1")
        assert decided == [("1", 1), ("2", 1), ("3", 1)], decided
        sent = sum(rule is None for rule in town.held(run).values())
        assert sent == len(town.rows(f"select 1 from decision where run_id = '{run_id}' and send_at is not null"))
        shutil.rmtree(run.folder)
    found = contacts(town)
    assert sum(map(overruns, found.values())) == 0
    assert nb.verify(town.place).whole
    with capsys.disabled():
        print(f"\n{KILLS} kills ({dict(recorded)}): lost 0, doubled 0, overruns 0, ledger whole")


def test_a_dead_runs_reservations_are_free_when_its_lease_ends(town, monkeypatch):
    town.client(1)
    monkeypatch.setattr(Job, "write", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    for day in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            town.decide(f"2025-09-{day:02}T12:00")
    monkeypatch.undo()
    assert town.held(town.decide("2025-09-04T12:00"))["1"] == "cap:week"  # for all we know, the three are still at work
    later = time.time() + 31 * 60
    monkeypatch.setattr(workspace_module.time, "time", lambda: later)
    assert town.held(town.decide("2025-09-05T12:00"))["1"] is None
    assert town.rows("select count(*) from run where recorded is null") == [(3,)] and nb.verify(town.place).whole


def test_a_clock_set_back_shortens_no_lease_and_reorders_nothing(town, monkeypatch):
    town.client(1)
    town.decide("2025-09-01T12:00")
    back = time.time() - 10 * DAY
    monkeypatch.setattr(workspace_module.time, "time", lambda: back)
    nb.consent(1, "marketing", False, workspace=town.place)
    [(before,), (after,)] = [town.rows("select recorded from run")[0], town.rows("select happened from consent")[0]]
    assert after >= before
    assert town.held(town.decide("2025-09-10T12:00"))["1"] == "consent" and nb.verify(town.place).whole


def test_an_opt_out_while_the_run_goes_on_is_heeded(town, monkeypatch):
    town.client(1).client(2)
    original = Job.write

    def opted_out_meanwhile(self):
        original(self)
        nb.consent(2, "marketing", False, workspace=town.place)

    monkeypatch.setattr(Job, "write", opted_out_meanwhile)
    run = town.decide()
    assert town.held(run) == {"1": None, "2": "withdrawn"}
    assert run.recommendations.push_notification[1] == ""
    assert town.rows("select customer from decision where send_at is not null") == [("1",)]
    monkeypatch.undo()
    for code in (1, 2):
        assert nb.replay(town.decision(run, code), workspace=town.place).same


def fails_whole(town, **options):
    with pytest.raises(StoreError) as told:
        town.decide(**options)
    assert told.value.exit_code == 5 and not (town.bank.folder / f"out{town.runs}").exists()
    return str(told.value)


def test_a_full_disk_is_told_and_leaves_nothing_half(town, place, monkeypatch):
    if "://" in place:
        pytest.skip("SQLite's file is limited here; PostgreSQL's disk is its server's")
    for code in range(1, 30):
        town.client(code)
    town.decide("2025-09-01T12:00")
    [(pages,)] = town.rows("pragma page_count")
    monkeypatch.setitem(workspace_module.PRAGMAS, "max_page_count", str(pages))
    assert "full" in fails_whole(town, at="2025-09-02T12:00")
    monkeypatch.undo()
    assert nb.verify(place).whole
    assert sum(rule is None for rule in town.held(town.decide("2025-09-02T12:00")).values()) == 29


def test_a_read_only_database_is_told(town, place, monkeypatch):
    town.client(1)
    town.decide("2025-09-01T12:00")
    if "://" in place:
        place = town.place = place + "&options=-c%20default_transaction_read_only%3Don"
    else:
        monkeypatch.setitem(workspace_module.PRAGMAS, "query_only", "on")
    assert "read" in fails_whole(town, at="2025-09-02T12:00")


def test_a_database_that_goes_away_mid_run_is_told(town, place, monkeypatch):
    town.client(1)
    original = Job.write

    def gone(self):
        original(self)
        if "://" in place:
            import psycopg

            with psycopg.connect(place.replace(place.split("/")[3].split("?")[0], "postgres"), autocommit=True) as admin:
                admin.execute(f"drop database {place.split('/')[3].split('?')[0]} with (force)")
                admin.execute(f"create database {place.split('/')[3].split('?')[0]}")
        else:
            shutil.rmtree(place)

    monkeypatch.setattr(Job, "write", gone)
    fails_whole(town)


def test_a_forger_is_always_found(town, place, capsys):
    """Single bytes changed, rows deleted, values swapped, anywhere in the ledger or its index."""
    if "://" in place:
        pytest.skip("the forger edits SQLite's file")
    for code in range(1, 6):
        town.client(code)
    for day in (1, 2):
        run = town.decide(f"2025-09-{day:02}T12:00")
    nb.consent(2, "marketing", False, workspace=place)
    nb.consent(3, "profiling", False, workspace=place)
    town.outcomes(*(f"e{code},clicked,2025-09-02T15:00:00Z,{town.decision(run, code)}" for code in range(1, 6)))
    nb.suppress_customer(4, datetime(2040, 1, 1, tzinfo=UTC), workspace=place)
    nb.erase_customer(5, workspace=place)
    assert nb.verify(place).whole
    database = Path(place) / "nextbest.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    original, chance, missed, tried = database.read_bytes(), random.Random(7), [], Counter()
    for _ in range(EDITS):
        kind = chance.choice(["byte", "byte", "delete", "swap"])
        done = forge(database, kind, chance)
        tried[kind] += 1
        if nb.verify(place).whole:
            missed.append(done)
        for suffix in ("-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        database.write_bytes(original)
    assert missed == []
    with capsys.disabled():
        print(f"\n{EDITS} forgeries ({dict(tried)}): all found")


COLUMNS = {
    "entry": ["seq", "kind", "run_id", "header", "records", "digests", "content", "previous", "hash"],
    "decision": ["run_id", "place", "customer", "offer", "send_at", "held_by"],
    "consent": ["consent_id", "customer", "purpose", "channel", "granted", "happened", "actor", "source"],
    "suppression": ["suppression_id", "customer", "scope", "what", "until", "happened", "actor", "source"],
    "outcome": ["event_id", "run_id", "place", "customer", "event", "happened", "attributed"],
    "run": ["run_id", "recorded"],
    "playbook": ["sha256", "archive"],
    "erased": ["digest"],
    "offered": ["run_id", "offer", "category", "channel", "purpose", "lane", "attribution"],
}
KEYS = {"entry": "seq", "decision": "run_id || '-' || place", "consent": "consent_id", "suppression": "suppression_id",
        "outcome": "event_id", "run": "run_id", "playbook": "sha256", "erased": "digest", "offered": "run_id || offer"}  # fmt: skip


def forge(database, kind, chance):
    """One forgery; returns what was done."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        while True:
            table = chance.choice(list(COLUMNS))
            keys = [row[0] for row in connection.execute(f"select {KEYS[table]} from {table} order by 1")]
            column, key = chance.choice(COLUMNS[table]), chance.choice(keys)
            [(value,)] = connection.execute(f"select {column} from {table} where {KEYS[table]} = ?", [key])
            if kind == "delete":
                connection.execute(f"delete from {table} where {KEYS[table]} = ?", [key])
                return kind, table
            if kind == "swap":
                other = chance.choice(keys)
                [(theirs,)] = connection.execute(f"select {column} from {table} where {KEYS[table]} = ?", [other])
                if theirs == value or column in (*KEYS[table].split(" "), "hash"):
                    continue  # nothing would change, or the database itself forbids it
                connection.execute(f"update {table} set {column} = ? where {KEYS[table]} = ?", [theirs, key])
                connection.execute(f"update {table} set {column} = ? where {KEYS[table]} = ?", [value, other])
                return kind, table, column
            changed = altered(value, chance)
            try:
                connection.execute(f"update {table} set {column} = ? where {KEYS[table]} = ?", [changed, key])
            except sqlite3.IntegrityError:
                continue
            return (
                kind,
                table,
                column,
                value if not isinstance(value, bytes) else len(value),
                changed if not isinstance(changed, bytes) else 0,
            )


def altered(value, chance):
    if value is None:
        return "x"
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(8))
    if isinstance(value, bytes):
        if not value:
            return b"x"
        place = chance.randrange(len(value))
        return value[:place] + bytes([value[place] ^ (1 << chance.randrange(8))]) + value[place + 1 :]
    if not value:
        return "x"
    place = chance.randrange(len(value))
    return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
