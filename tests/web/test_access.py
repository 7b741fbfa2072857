"""Keys and roles, limits, health, metrics, logs."""

import io
import json
import logging
import sys

import pytest
from fastapi.testclient import TestClient

from nextbest.services.keys import create_key, list_keys, revoke_key
from nextbest.settings import ServerSettings
from nextbest.web.api.access import on_loopback
from nextbest.web.api.app import create_app
from nextbest.web.api.middleware import JsonLines


@pytest.fixture(scope="module")
def guarded(start, tmp_path_factory):
    place = str(tmp_path_factory.mktemp("guarded"))
    keys = {role: create_key(role, role, workspace=place) for role in ("viewer", "operator", "approver", "admin")}
    keys["scoped"] = create_key("scoped", "admin", workspace=place, playbooks=["private-bank"])
    ask = start(workspace=place, open=False)
    return ask, {name: {"Authorization": f"Bearer {key}"} for name, key in keys.items()}


def test_without_a_good_key_nothing_opens(guarded):
    ask, _ = guarded
    for headers in ({}, {"Authorization": "Bearer nb_wrong"}, {"X-API-Key": "nb_wrong"}, {"Authorization": "Basic eDp5"}):
        reply = ask.get("/v1/playbooks", headers=headers)
        assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"


def test_every_route_but_health_needs_a_key(guarded):
    ask, _ = guarded
    open_ = {"/health", "/ready", "/metrics", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"}
    for path, methods in ask.get("/openapi.json").json()["paths"].items():
        for method in methods:
            if path not in open_:
                assert ask.request(method, path.replace("{", "").replace("}", "")).status_code in (401,), (method, path)


@pytest.mark.parametrize(
    ("method", "path", "least"),
    [
        ("GET", "/v1/playbooks/bank-kz", "viewer"),
        ("POST", "/v1/playbooks/bank-kz/jobs", "operator"),
        ("POST", "/v1/playbooks/bank-kz/approve", "approver"),
        ("DELETE", "/v1/customers/1", "admin"),
        ("GET", "/v1/customers/1", "admin"),
        ("POST", "/upload/clients", "operator"),
    ],
)
def test_a_role_may_do_what_those_before_it_may(guarded, method, path, least):
    ask, keys = guarded
    roles = ("viewer", "operator", "approver", "admin")
    for role in roles:
        body = {"files": {"file": ("clients.csv", b"x")}} if "upload" in path else {"json": {}} if method == "POST" else {}
        reply = ask.request(method, path, headers=keys[role], **body)
        assert (reply.status_code == 403) == (roles.index(role) < roles.index(least)), (role, reply.text)


def test_a_key_opens_its_own_playbooks_only(guarded):
    ask, keys = guarded
    assert [item["playbook"] for item in ask.get("/v1/playbooks", headers=keys["scoped"]).json()] == ["private-bank"]
    assert ask.get("/v1/playbooks/bank-kz", headers=keys["scoped"]).status_code == 403
    assert ask.get("/v1/playbooks/private-bank", headers=keys["scoped"]).status_code == 200


def test_a_jobs_answer_is_for_those_whom_its_playbook_is_open_to(guarded):
    ask, keys = guarded
    job = ask.post("/v1/playbooks/bank-kz/jobs", json={}, headers=keys["operator"]).json()
    assert ask.get(f"/v1/jobs/{job['job_id']}", headers=keys["scoped"]).status_code == 404
    assert ask.delete(f"/v1/jobs/{job['job_id']}", headers=keys["viewer"]).status_code == 403


def test_a_revoked_key_is_shut_out(guarded):
    ask, _ = guarded
    place = ask.app.state.serving.workspace.place
    key = create_key("short", "viewer", workspace=place)
    ask.app.state.serving.look()
    assert ask.get("/v1/playbooks", headers={"X-API-Key": key}).status_code == 200
    [known] = [item for item in list_keys(workspace=place) if item.name == "short"]
    revoke_key(known.key_id, workspace=place)
    ask.app.state.serving.look()
    assert ask.get("/v1/playbooks", headers={"X-API-Key": key}).status_code == 401


def test_a_key_is_kept_as_its_hash_only(guarded):
    ask, keys = guarded
    with ask.app.state.serving.workspace.reading() as connection:
        kept = str(connection.exec_driver_sql("select * from api_key").fetchall())
    assert not any(headers["Authorization"].removeprefix("Bearer ") in kept for headers in keys.values())


def test_too_many_requests(start):
    ask = start(rate="5/minute")
    replies = [ask.get("/v1/playbooks") for _ in range(7)]
    assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 2
    assert 1 <= int(replies[-1].headers["retry-after"]) <= 60
    assert ask.get("/health").status_code == 200


def test_health_and_readiness_are_two_things(start):
    ask = start()
    assert ask.get("/health").json()["status"] == "ok" and ask.get("/ready").status_code == 200
    ask.app.state.serving.ready = False
    ask.app.state.serving.look = lambda: None
    assert ask.get("/health").status_code == 200 and ask.get("/ready").status_code == 503


def test_requests_have_ids(start):
    ask = start()
    assert ask.get("/health", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert ask.get("/health", headers={"X-Request-ID": "no good\u00e9"[:7] + "<b>"}).headers["x-request-id"] != "no good<b>"


def test_metrics_and_logs_hold_no_customer(tmp_path):
    stream = io.StringIO()
    app = create_app(ServerSettings(workspace=str(tmp_path / "workspace"), open=True), stream)
    with TestClient(app, base_url="http://127.0.0.1") as ask:
        ask.get("/v1/playbooks/bank-kz/customers/SECRET77/decision")
        metrics = ask.get("/metrics").text
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[0]["route"] == "/v1/playbooks/{playbook}/customers/{customer}/decision" and lines[0]["status"] == 404
    assert "SECRET77" not in stream.getvalue() + metrics
    assert 'route="/v1/playbooks/{playbook}/customers/{customer}/decision"' in metrics


def test_an_unforeseen_error_tells_no_values():
    """Its own words may hold a customer's: the log gets its kind and place, the caller the request's id."""
    try:
        raise ValueError("SECRET77")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "unforeseen", None, sys.exc_info())
    line = JsonLines().format(record)
    assert "SECRET77" not in line and "test_access.py" in line


def test_an_error_that_nobody_foresaw(start, monkeypatch, caplog):
    """The caller gets the request's id; neither the caller nor the log gets the error's own words."""
    ask = start()

    def fail(*_: object) -> None:
        raise ValueError("SECRET77")

    monkeypatch.setattr("nextbest.web.serving.Desk.stored", fail)
    reply = ask.get("/v1/playbooks/bank-kz/customers/7/decision", headers={"X-Request-ID": "mine-7"})
    assert reply.status_code == 500 and reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["instance"] == "request:mine-7" and "SECRET77" not in reply.text
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    line = JsonLines().format(record)
    assert "SECRET77" not in line and "test_access.py" in line and '"what": "ValueError"' in line


def test_without_a_key_no_body_is_read(guarded):
    ask, keys = guarded
    path = "/v1/playbooks/bank-kz/decisions"
    assert ask.post(path, content=b"{ not json").status_code == 401
    assert ask.post(path, content=b"{ not json", headers=keys["operator"]).status_code == 422


def test_a_body_in_parts_that_grows_too_large(start):
    ask = start(most_bytes=3000)

    def parts():
        for _ in range(10):
            yield b"x" * 1000

    headers = {"content-type": "application/json"}
    reply = ask.post("/v1/playbooks/bank-kz/decisions", content=parts(), headers=headers)
    assert reply.status_code == 413 and reply.json()["title"] == "Too large"


def test_invented_methods_are_one_series(start):
    ask = start()
    for n in range(5):
        ask.request(f"X{n}", "/health")
    assert 'method="X1"' not in ask.get("/metrics").text and 'method="other"' in ask.get("/metrics").text


def test_the_docs_ask_nothing_of_the_outside(start):
    page = start().get("/docs").text
    assert "https://" not in page and "http://" not in page


def test_cors_only_where_it_is_set(start):
    asked = {"Origin": "https://app.bank.kz", "Access-Control-Request-Method": "GET"}
    assert "access-control-allow-origin" not in start().options("/v1/playbooks", headers=asked).headers
    open_ = start(cors=["https://app.bank.kz"])
    assert open_.options("/v1/playbooks", headers=asked).headers["access-control-allow-origin"] == "https://app.bank.kz"


def test_loopback():
    assert on_loopback("127.0.0.1") and on_loopback("::1") and on_loopback("localhost")
    assert not on_loopback("0.0.0.0") and not on_loopback("192.168.1.5") and not on_loopback("bank.kz")


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("evil.example", 403), ("[", 403)]
)
def test_an_open_server_answers_to_its_own_names_only(start, host, status):
    """A site whose name is made to point to this machine would else have its visitors' browsers ask in its stead."""
    assert start().get("/v1/playbooks", headers={"host": host}).status_code == status
