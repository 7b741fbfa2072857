"""A server as it is really run, in processes of its own: what survives a crash, an orderly end, several workers."""

import io
import time

import pandas as pd
import pytest
from tests.channels.conftest import SECRET, hook  # noqa: F401
from tests.web.conftest import Server, ended

import nextbest as nb


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """Large enough for a job to be caught at work."""
    return nb.synth(3000, out=tmp_path_factory.mktemp("larger") / "data", seed=5, rows_per_customer=60)


def at_work(server: Server, job: dict) -> dict:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job = server.ask.get(f"/v1/jobs/{job['job_id']}").json()
        if job["place"] >= 2 or job["finished"] is not None:
            return job
        time.sleep(0.02)
    raise AssertionError(server.log())


def test_a_killed_servers_job_is_done_by_the_next_one_and_contacts_nobody_twice(tmp_path, larger):
    server = Server(tmp_path, "bank-kz", LEASE="3").start()
    server.hand_in(larger)
    job = server.ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31"}).json()
    assert at_work(server, job)["state"] == "running"
    server.kill()
    with Server(tmp_path, "bank-kz", LEASE="3") as again:
        job = ended(again.ask, job)
        assert (job["state"], job["attempt"]) == ("done", 2), job
        place = str(tmp_path / "workspace")
        assert nb.verify(workspace=place).whole
    messages = pd.read_parquet(tmp_path / "workspace/server/bank-kz/runs" / job["job_id"] / "messages.parquet")
    assert messages.client_code.is_unique and messages.withheld.isna().sum() > 2000


def test_an_orderly_end_gives_the_job_back_at_once(tmp_path, larger):
    server = Server(tmp_path, "bank-kz").start()  # with a lease of a minute: a job not given back would be late
    server.hand_in(larger)
    job = server.ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31"}).json()
    assert at_work(server, job)["state"] == "running"
    server.stop()
    started = time.monotonic()
    with Server(tmp_path, "bank-kz") as again:
        job = ended(again.ask, job)
        assert (job["state"], job["attempt"]) == ("done", 1), job
        assert time.monotonic() - started < 50


def test_a_job_cancelled_at_work_leaves_nothing(tmp_path, larger):
    with Server(tmp_path, "bank-kz") as server:
        server.hand_in(larger)
        job = server.ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31"}).json()
        assert at_work(server, job)["state"] == "running"
        server.ask.delete(f"/v1/jobs/{job['job_id']}")
        assert ended(server.ask, job)["state"] == "cancelled"
        time.sleep(1)
        assert list((tmp_path / "workspace/server/bank-kz/runs").iterdir()) == []
        assert server.ask.get("/v1/playbooks/bank-kz/customers/7/decision").status_code == 404


def test_open_by_environment_is_not_enough(tmp_path):
    """Only the command's own flag opens a server, and only on loopback."""
    import httpx2

    with Server(tmp_path, "private-bank", keys=True, OPEN="true") as server:
        assert httpx2.get(f"{server.url}/v1/playbooks").status_code == 401


def test_two_workers_know_the_same(tmp_path, bank):
    """A refusal told to one worker holds on the other within two seconds; exports come whole."""
    with Server(tmp_path, "bank-kz", workers=2) as server:
        server.hand_in(bank)
        job = server.ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31", "record": False}).json()
        assert ended(server.ask, job)["state"] == "done"
        time.sleep(2)
        path = "/v1/playbooks/bank-kz/customers/7/decision"
        assert all(server.ask.get(path, headers={"connection": "close"}).json()["message"]["text"] for _ in range(20))
        server.ask.post("/v1/customers/7/consents", json={"purpose": "marketing", "granted": False})
        time.sleep(2)
        assert not any(server.ask.get(path, headers={"connection": "close"}).json()["message"]["text"] for _ in range(20))
        for _ in range(10):
            reply = server.ask.get("/v1/playbooks/bank-kz/exports/decisions?format=parquet")
            assert len(pd.read_parquet(io.BytesIO(reply.content))) == 40 * 10


def test_requests_are_answered_while_a_playbook_is_approved(tmp_path, bank):
    own = nb.copy("bank-kz", tmp_path / "own")
    with Server(tmp_path, str(own)) as server:
        server.hand_in(bank)
        job = server.ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31", "record": False}).json()
        assert ended(server.ask, job)["state"] == "done"
        time.sleep(1.5)
        path = own / "playbook.yaml"
        before = server.ask.get("/v1/playbooks/bank-kz").json()["sha256"]
        path.write_text(path.read_text().replace('version: "1.0"', 'version: "1.1"'))
        assert server.ask.post("/v1/playbooks/bank-kz/approve").json()["version"] == "1.1"
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert server.ask.get("/v1/playbooks/bank-kz/customers/7/decision").status_code == 200
        assert server.ask.get("/v1/playbooks/bank-kz").json()["sha256"] != before


def test_a_server_killed_while_it_hands_over_loses_no_event(tmp_path, larger, hook):  # noqa: F811
    """Every message recorded comes to the receiver, whenever the server was killed; the same one again has the same key."""
    hook.seconds = 0.01
    options = {"DELIVER": f'["{hook.url}"]', "EVENTS": '["message"]', "WEBHOOK_SECRET": SECRET, "LEASE": "3"}
    server = Server(tmp_path, "bank-kz", **options).start()
    server.hand_in(larger)
    job = ended(server.ask, server.ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31"}).json())
    assert job["state"] == "done", job
    wait_for(lambda: len(hook.posts) > 300)
    server.kill()
    got = len(hook.posts)
    messages = pd.read_parquet(tmp_path / "workspace/server/bank-kz/runs" / job["job_id"] / "messages.parquet")
    due = {f"{number}-message" for number in messages.decision_id[messages.withheld.isna()]}
    assert got < len(due)
    with Server(tmp_path, "bank-kz", **options) as again:
        wait_for(lambda: {post.key for post in hook.posts} == due)
        [standing] = again.ask.get("/v1/playbooks/bank-kz/deliveries").json()
        assert standing["set_aside"] == {}
    assert len(hook.posts) <= len(due) + 200  # at least once, and hardly more


def wait_for(true):
    until = time.monotonic() + 90
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)
