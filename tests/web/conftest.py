"""A server of two playbooks over a new workspace, asked in the same process."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server's extra is not installed: pip install 'nextbest[server]'")

import httpx2
from fastapi.testclient import TestClient

import nextbest as nb
from nextbest.settings import ServerSettings
from nextbest.web.api.app import create_app

PRIVATE = (
    "customer_id,age,income,existing_products,credit_score,avg_account_balance\n"
    "C1,26,55000,Savings Account,700,4000\nC2,45,150000,Premium Card;Savings Account,790,120000\nC3,33,28000,,560,900\n"
)


class Server:
    """A server in processes of its own, as a user starts it. `kill` is a crash of all of them."""

    def __init__(self, folder: Path, *playbooks: str, workers: int = 1, keys: bool = False, **settings: str):
        self.folder, self.playbooks, self.workers, self.keys = folder, playbooks, workers, keys
        self.settings = {f"NEXTBEST_SERVER_{name}": value for name, value in {"RATE": "1000000/minute", **settings}.items()}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> "Server":
        command = [
            str(Path(sys.executable).parent / "nextbest"),
            "serve",
            *([] if self.keys else ["--no-keys"]),
            "--port",
            str(self.port),
            "--workers",
            str(self.workers),
        ]
        command += ["--workspace", str(self.folder / "workspace"), *(part for name in self.playbooks for part in ("-p", name))]
        with (self.folder / "log").open("a") as log:
            environment = {**os.environ, **self.settings}
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.ask = httpx2.Client(base_url=self.url, timeout=120)
        until = time.monotonic() + 90
        while time.monotonic() < until:
            try:
                if self.ask.get("/ready").status_code == 200:
                    return self
            except httpx2.TransportError:
                time.sleep(0.1)
        raise AssertionError(self.log())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def log(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def hand_in(self, bank: Path) -> None:
        for table in ("clients", "transactions", "transfers"):
            with (bank / f"{table}.csv").open("rb") as file:
                assert self.ask.put(f"/v1/playbooks/bank-kz/tables/{table}", files={"file": (f"{table}.csv", file)}).status_code == 200

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def ended(ask: Any, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it is done, failed or cancelled."""
    until = time.monotonic() + 120
    while job["finished"] is None and time.monotonic() < until:
        time.sleep(0.1)
        job = ask.get(f"/v1/jobs/{job['job_id']}").json()
    return job


@pytest.fixture(scope="session")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served-bank")
    return nb.synth(40, out=folder / "data", seed=4, rows_per_customer=120)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[Callable[..., TestClient]]:
    """Starts servers that end with the module's tests. Options are those of ServerSettings."""
    clients: list[TestClient] = []

    def started(**options: Any) -> TestClient:
        place = options.pop("workspace", None) or str(tmp_path_factory.mktemp("workspace"))
        app = create_app(ServerSettings(**{"workspace": place, "playbooks": ["bank-kz", "private-bank"], "open": True, **options}))
        client = TestClient(app, raise_server_exceptions=False, base_url="http://127.0.0.1")
        client.__enter__()
        clients.append(client)
        return client

    yield started
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def ask(start, bank) -> TestClient:
    """A server that has decided for both playbooks."""
    client = start()
    for table in ("clients", "transactions", "transfers"):
        with (bank / f"{table}.csv").open("rb") as file:
            assert client.put(f"/v1/playbooks/bank-kz/tables/{table}", files={"file": (f"{table}.csv", file)}).status_code == 200
    client.put("/v1/playbooks/private-bank/tables/customers", files={"file": ("customers.csv", PRIVATE)})
    for name in ("bank-kz", "private-bank"):
        job = client.post(f"/v1/playbooks/{name}/jobs", json={"as_of": "2025-08-31", "record": False}).json()
        assert ended(client, job)["state"] == "done", job
        client.app.state.serving.look()
    return client


def decided_private(start, table=PRIVATE):
    ask = start(playbooks=["private-bank"])
    ask.put("/v1/playbooks/private-bank/tables/customers", files={"file": ("customers.csv", table)})
    job = ended(ask, ask.post("/v1/playbooks/private-bank/jobs", json={"as_of": "2025-08-31", "record": False}).json())
    assert job["state"] == "done"
    ask.app.state.serving.look()
    return ask


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Through HTTP each messy file takes seconds: CI takes a part of them."""
    if os.environ.get("NEXTBEST_PROOF") != "full":
        messy = [item for item in items if item.path.name == "test_messy_over_http.py"]
        left = {id(item) for place, item in enumerate(messy) if place % 24}
        items[:] = [item for item in items if id(item) not in left]
