"""A server of two playbooks over a new workspace, asked in the same process."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server's extra is not installed: pip install 'nextbest[server]'")

from fastapi.testclient import TestClient

import nextbest as nb
from nextbest.settings import ServerSettings
from nextbest.web.api.app import create_app

PRIVATE = (
    "customer_id,age,income,existing_products,credit_score,avg_account_balance\n"
    "C1,26,55000,Savings Account,700,4000\nC2,45,150000,Premium Card;Savings Account,790,120000\nC3,33,28000,,560,900\n"
)


def ended(ask: TestClient, job: dict[str, Any]) -> dict[str, Any]:
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
        client = TestClient(app, raise_server_exceptions=False)
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
