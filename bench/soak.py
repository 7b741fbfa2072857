"""A server under mixed load that is killed and restarted all the while: nothing it accepted may be lost.

`python bench/soak.py --minutes 10`. Callers hand in tables, start jobs, ask for stored and fresh decisions, send outcomes and
consents, and ask again when the connection breaks, with the same keys. At the end every accepted job is done, every
accepted outcome and consent is in the workspace, every message recorded was handed over, and the ledger is whole.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx2
import pandas as pd
from sqlalchemy import select
from tests.channels.conftest import SECRET
from tests.web.conftest import Server

import nextbest as nb
from nextbest.store import tables
from nextbest.store.workspace import Workspace

TABLES = ("clients", "transactions", "transfers")
API = "/v1/playbooks/bank-kz"


class Load:
    """The callers, what was accepted from them, and what they met."""

    def __init__(self, url: str, bank: Path, seed: int):
        self.url, self.bank, self.random = url, bank, random.Random(seed)
        self.stop = threading.Event()
        self.jobs: set[str] = set()
        self.done: set[str] = set()
        self.outcomes: set[str] = set()
        self.consents: set[str] = set()
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.decisions: list[str] = []

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """Ask until there is an answer; None where the load ends before."""
        while True:
            try:
                with httpx2.Client(base_url=self.url, timeout=30) as client:
                    reply = client.request(method, path, **options)
            except httpx2.TransportError:
                self.seen["broken connections"] += 1
                if self.stop.is_set():
                    return None
                time.sleep(0.2)
                continue
            self.seen[f"{method} {reply.status_code}"] += 1
            if reply.status_code == 503 and not self.stop.is_set():
                time.sleep(0.2)
                continue
            if reply.status_code >= 500:
                self.wrong.append(f"{method} {path}: {reply.status_code} {reply.text[:200]}")
            return reply

    def hand_in(self) -> None:
        for table in TABLES:
            with (self.bank / f"{table}.csv").open("rb") as file:
                self.ask("PUT", f"{API}/tables/{table}", files={"file": (f"{table}.csv", file.read())})

    def job(self, number: int) -> None:
        day = f"2025-{9 + number // 28:02}-{1 + number % 28:02}T12:00:00"
        asked = {"as_of": "2025-08-31", "at": day, "record": True}
        reply = self.ask("POST", f"{API}/jobs", json=asked, headers={"idempotency-key": f"soak-{number}"})
        if reply is not None and reply.status_code == 202:
            self.jobs.add(reply.json()["job_id"])

    def batches(self) -> None:
        number = 1
        while not self.stop.wait(2):
            if len(self.unfinished()) < 2:
                self.hand_in()
                self.job(number)
                number += 1

    def unfinished(self) -> list[str]:
        """Accepted jobs that are not done, and how they stand."""
        found = []
        for job in sorted(self.jobs - self.done):
            reply = self.ask("GET", f"/v1/jobs/{job}")
            state = reply.json()["state"] if reply is not None and reply.status_code == 200 else "unknown"
            if state == "done":
                self.done.add(job)
            else:
                found.append(f"{job} {state}")
        return found

    def questions(self) -> None:
        body = {
            "as_of": "2025-08-31",
            "tables": {
                "clients": [{"client_code": "N1", "name": "Айгерим", "age": 34, "avg_monthly_balance_KZT": 150000}],
                "transactions": [{"date": "2025-08-10", "category": "Отели", "amount": 90000}],
                "transfers": [],
            },
        }
        while not self.stop.wait(0.01):
            reply = self.ask("GET", f"{API}/customers/{self.random.randint(1, 300)}/decision")
            if reply is not None and reply.status_code not in (200, 404):
                self.wrong.append(f"look-up: {reply.status_code}")
            if self.random.random() < 0.05:
                self.ask("POST", f"{API}/decisions", json=body)

    def outcomes_in(self) -> None:
        number = 0
        while not self.stop.wait(0.2):
            rows = []
            for _ in range(5):
                number += 1
                decision = self.random.choice(self.decisions)
                rows.append(
                    {"event_id": f"e{number}", "event": "clicked", "happened": "2025-09-02T12:00:00+05:00", "decision_id": decision}
                )
            reply = self.ask("POST", "/v1/outcomes", json=rows)
            if reply is not None and reply.status_code == 200 and not reply.json()["rejected"]:
                self.outcomes |= {row["event_id"] for row in rows}

    def consents_in(self) -> None:
        number = 0
        while not self.stop.wait(0.5):
            number += 1
            said = {"purpose": "marketing", "granted": True, "source": f"soak {number}"}
            reply = self.ask("POST", f"/v1/customers/{self.random.randint(1, 300)}/consents", json=said)
            if reply is not None and reply.status_code == 204:
                self.consents.add(f"soak {number}")


def receiver(got: set[str]) -> ThreadingHTTPServer:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            got.add(self.headers["webhook-id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def until(what: str, true: Any, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"in vain: {what}")
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance, got = random.Random(asked.seed), set[str]()
    hook = receiver(got)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temp:
        folder = Path(temp)
        bank = nb.synth(300, out=folder / "bank", seed=asked.seed, rows_per_customer=60)
        address = json.dumps([f"http://127.0.0.1:{hook.server_port}/"])
        server = Server(
            folder, "bank-kz", workers=2, LEASE="5", ATTEMPTS="50", DELIVER=address, EVENTS='["message"]', WEBHOOK_SECRET=SECRET
        ).start()
        load = Load(server.url, bank, asked.seed)
        load.hand_in()
        load.job(0)
        [first] = load.jobs
        until("the first job", lambda: load.ask("GET", f"/v1/jobs/{first}").json()["finished"] is not None)  # type: ignore[union-attr]
        runs = folder / "workspace/server/bank-kz/runs"
        written = pd.read_parquet(runs / first / "messages.parquet")
        load.decisions = written.decision_id[written.withheld.isna()].tolist()
        callers = [
            threading.Thread(target=work) for work in (load.batches, load.questions, load.questions, load.outcomes_in, load.consents_in)
        ]
        for caller in callers:
            caller.start()
        end, kills, stops = time.monotonic() + 60 * asked.minutes, 0, 0
        while time.monotonic() < end:
            time.sleep(chance.uniform(4, 12))
            if chance.random() < 0.7:
                os.killpg(server.process.pid, signal.SIGKILL)
                server.process.wait(10)
                kills += 1
            else:
                server.stop()
                stops += 1
            server.start()
        load.stop.set()
        for caller in callers:
            caller.join()

        until(f"every accepted job is done ({load.unfinished()})", lambda: not load.unfinished())
        with Workspace(folder / "workspace") as store, store.reading() as connection:
            outcomes = set(connection.execute(select(tables.outcome.c.event_id)).scalars())
            consents = set(connection.execute(select(tables.consent.c.source)).scalars())
            due = {
                f"{row.run_id}-{row.place}-message"
                for row in connection.execute(
                    select(tables.decision.c.run_id, tables.decision.c.place)
                    .join(tables.run, tables.run.c.run_id == tables.decision.c.run_id)
                    .where(tables.run.c.recorded.is_not(None), tables.decision.c.send_at.is_not(None))
                )
            }
        until("every message recorded is handed over", lambda: due <= got)
        whole = nb.verify(workspace=str(folder / "workspace")).whole
        server.stop()
    lost = {"outcomes": len(load.outcomes - outcomes), "consents": len(load.consents - consents)}
    print(f"{asked.minutes:g} minutes: {kills} kills, {stops} orderly ends; {dict(sorted(load.seen.items()))}")
    print(f"accepted {len(load.jobs)} jobs, {len(load.outcomes)} outcomes, {len(load.consents)} consents; lost {lost}")
    print(f"{len(due)} messages recorded, {len(got)} handed over; the ledger is {'whole' if whole else 'NOT whole'}")
    print(*load.wrong[:10], sep="\n")
    if any(lost.values()) or not whole or load.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
