"""The HTTP API: stored and fresh decisions, tables and batch jobs, exports, playbooks in words."""

import csv
import io
import json
import random

import pandas as pd
import pytest
from tests.web.conftest import PRIVATE, decided_private, ended

import nextbest as nb


def rows_of(bank, code):
    tables = {
        name: pd.read_csv(bank / f"{name}.csv", dtype=str, keep_default_na=False) for name in ("clients", "transactions", "transfers")
    }
    return {name: table[table.client_code == str(code)].to_dict("records") for name, table in tables.items()}


def test_a_fresh_decision_is_the_stored_one(ask, bank):
    """Batch and online: the same answer for the same customer and day, whoever comes before."""
    codes = random.Random(1).sample(range(1, 41), 12)
    for code in codes:
        stored = ask.get(f"/v1/playbooks/bank-kz/customers/{code}/decision").json()
        fresh = ask.post("/v1/playbooks/bank-kz/decisions", json={"tables": rows_of(bank, code), "as_of": "2025-08-31"}).json()
        assert fresh.pop("problems") == []
        assert fresh == stored, code


def test_a_posted_amount_may_have_the_sign_of_its_currency(ask, bank):
    def decided(**written):
        tables = rows_of(bank, 7) | {"transactions": [{"date": "2025-08-10", "category": "Отели", **written}]}
        return ask.post("/v1/playbooks/bank-kz/decisions", json={"tables": tables, "as_of": "2025-08-31"}).json()

    assert decided(amount="$1 500") == decided(amount=1500, currency="USD") != decided(amount=1500)


def test_the_reply_says_what_why_worth_how_much_and_in_which_words(ask):
    said = ask.get("/v1/playbooks/bank-kz/customers/7/decision").json()
    assert [offer["rank"] for offer in said["offers"]] == [1, 2, 3, 4]
    first = said["offers"][0]
    assert first["reasons"] and first["benefit"] == pytest.approx(sum(term["amount"] for term in first["benefit_terms"]))
    assert said["message"]["text"] and said["message"]["offer"] == first["offer"]


def test_explanation(ask):
    said = ask.get("/v1/playbooks/bank-kz/customers/7/explanation?language=en").json()
    assert len(said["offers"]) == 10
    assert any(offer["change"] for offer in said["offers"])


def test_posted_rows_that_cannot_be_read_are_told_one_by_one(ask):
    asked = {"tables": {"clients": [{"client_code": "A", "agee": 3}, {"client_code": "B"}], "transfrs": []}, "as_of": "2025-08-31"}
    reply = ask.post("/v1/playbooks/bank-kz/decisions", json=asked)
    assert reply.status_code == 422 and reply.headers["content-type"] == "application/problem+json"
    said = {problem["where"] for problem in reply.json()["problems"]}
    assert said >= {"transfrs", "clients.agee", "clients.balance", "clients"}


def test_odd_cells_of_posted_rows_are_told_and_the_rest_counts(ask):
    clients = [{"client_code": "A", "age": "old", "balance": "1,234"}]
    taxis = [{"date": "2025-08-10", "category": "Такси", "amount": amount} for amount in (2500, "many")]
    reply = ask.post(
        "/v1/playbooks/bank-kz/decisions", json={"tables": {"clients": clients, "transactions": taxis}, "as_of": "2025-08-31"}
    ).json()
    assert {(item["table"], item["problem"]) for item in reply["problems"]} >= {("clients", "unreadable"), ("transactions", "bad_amount")}


def test_a_number_of_three_decimals_is_no_thousand(ask):
    """As text `900.125` may be a thousand times as much; as a number it is what it is."""
    said = {}
    for amount in (900.125, 900.13, "900.125"):
        tables = {
            "clients": [{"client_code": "A", "age": 34, "balance": amount}],
            "transactions": [{"date": "2025-08-10", "category": "Такси", "amount": amount}],
        }
        said[amount] = ask.post("/v1/playbooks/bank-kz/decisions", json={"tables": tables, "as_of": "2025-08-31"}).json()
    assert said[900.125] == said[900.13] and said[900.125]["problems"] == []
    assert {item["problem"] for item in said["900.125"]["problems"]} == {"unreadable", "ambiguous_amount"}


def test_nothing_is_stored_of_a_posted_customer_unless_asked(start):
    ask = start()
    asked = {
        "tables": {"customers": [{"customer_id": "Z1", "age": 40, "income": 90000, "balance": 50000, "credit_score": 700}]},
        "as_of": "2025-08-31",
    }
    path = "/v1/playbooks/private-bank/decisions"
    assert ask.post(path, json=asked).json()["decision_id"] is None
    assert ask.get("/v1/customers/Z1").status_code == 404
    recorded = ask.post(path, json={**asked, "record": True}).json()
    assert recorded["decision_id"] and len(ask.get("/v1/customers/Z1").json()["decisions"]) == 1
    again = ask.post(path, json={**asked, "record": True}).json()
    assert again["decision_id"] == recorded["decision_id"] and again["offers"] == recorded["offers"]
    assert nb.verify(workspace=ask.app.state.serving.workspace.place).whole


def test_a_file_added_keeps_what_was_there(start):
    ask = start(playbooks=["private-bank"])
    path = "/v1/playbooks/private-bank/tables"
    head, *rows = PRIVATE.splitlines()
    for row in rows:
        file = {"file": ("customers.csv", f"{head}\n{row}\n")}
        assert ask.put(f"{path}/customers?append=true", files=file).status_code == 200
    assert ask.get(path).json() == {"customers": ["customers-2.csv", "customers-3.csv", "customers.csv"]}
    assert ask.put(f"{path}/customers", files={"file": ("all.csv", PRIVATE)}).status_code == 200
    assert ask.get(path).json() == {"customers": ["all.csv"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("playbooks/private-bank/decisions", {"tables": {"customers": []}, "as_of": "9999-12-31"}),
        ("playbooks/private-bank/decisions", {"tables": {}, "at": "9999-12-31T23:59:59-14:00"}),
        ("customers/1/consents", {"purpose": "marketing", "granted": False, "happened": "0001-01-01T00:00:00+12:00"}),
        ("customers/1/consents", {"purpose": "marketing", "granted": False, "happened": "9999-12-31T23:59:59-12:00"}),
        ("customers/1/consents", {"purpose": "marketting", "granted": False}),
        ("outcomes", [{"event_id": "e", "event": "clicked", "happened": "9999-12-31T23:59:59-12:00", "decision_id": "x-1"}]),
        ("playbooks/private-bank/lint", {"texts": ["\ud800"], "language": "en", "channel": "app"}),
    ],
)
def test_values_at_the_edge_are_told_and_break_nothing(ask, path, body):
    reply = ask.post(f"/v1/{path}", content=json.dumps(body), headers={"content-type": "application/json"})
    assert reply.status_code == 422, reply.text
    assert reply.json()["problems"]


def test_a_table_without_customers_is_refused_and_the_run_before_stays(start):
    ask = decided_private(start)
    path = "/v1/playbooks/private-bank"
    ask.put(f"{path}/tables/customers", files={"file": ("customers.csv", PRIVATE.splitlines()[0] + "\n")})
    job = ended(ask, ask.post(f"{path}/jobs", json={"as_of": "2025-08-31"}).json())
    assert job["state"] == "failed" and "no customer" in job["problems"][0]["what"]
    assert ask.get(f"{path}/customers/C1/decision").status_code == 200


def test_invoices_alone_are_enough_where_the_playbook_makes_customers_of_them(start):
    ask = start(playbooks=["shop-invoices"])
    path = "/v1/playbooks/shop-invoices"
    rows = "".join(f"C{customer},2025-0{month}-15,{1000 + customer}\n" for customer in range(20) for month in range(4, 9))
    handed = ask.put(f"{path}/tables/invoices", files={"file": ("invoices.csv", "customer,date,amount\n" + rows)})
    assert handed.status_code == 200, handed.text
    job = ended(ask, ask.post(f"{path}/jobs", json={"as_of": "2025-08-31", "record": False}).json())
    assert job["state"] == "done", job
    ask.app.state.serving.look()
    assert ask.get(f"{path}/customers/C7/decision").json()["offers"]


def test_a_job_told_as_events(ask):
    job = ask.post("/v1/playbooks/private-bank/jobs", json={"as_of": "2025-08-31", "record": False}).json()
    lines = ask.get(f"/v1/jobs/{job['job_id']}/events").text
    assert "event: end" in lines and '"state": "done"' in lines


def test_the_same_request_again_is_the_same_job(ask):
    headers = {"Idempotency-Key": "monday"}
    first, second = (ask.post("/v1/playbooks/private-bank/jobs", json={"record": False}, headers=headers).json() for _ in range(2))
    assert first["job_id"] == second["job_id"]


def test_a_job_over_bad_tables_fails_and_says_why(start):
    ask = start()
    job = ended(ask, ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31"}).json())
    assert job["state"] == "failed"
    assert {problem["what"] for problem in job["problems"]} >= {"no file for 'clients'", "no file for 'transfers'"}


def test_a_cancelled_job_leaves_nothing(start, bank):
    ask = start(work=False)
    job = ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31"}).json()
    assert ask.delete(f"/v1/jobs/{job['job_id']}").json()["state"] == "cancelled"
    assert ask.get(f"/v1/jobs/{job['job_id']}").json()["finished"] is not None
    assert ask.delete("/v1/jobs/none").status_code == 404


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("clients.csv", b"", "empty"),
        ("clients.csv", b"%PDF-1.4", "PDF"),
        ("clients.csv", b"\x89PNG\r\n", "picture"),
        ("clients.csv", b"a,b\n1,2\n", "client_code"),
        ("clients.exe", b"client_code\n1\n", "not a table"),
        ("../../../etc/passwd", b"client_code\n1\n", "not a table"),
        ("clients.parquet", b"PAR1....", "damaged"),
    ],
)
def test_files_that_are_no_tables(ask, name, content, says):
    reply = ask.put("/v1/playbooks/bank-kz/tables/clients", files={"file": (name, content)})
    assert reply.status_code == 422 and says in reply.text
    assert ask.get("/v1/playbooks/bank-kz/tables").json()["clients"] == ["clients.csv"]  # what was there stays


def test_a_file_keeps_its_bare_name(ask, bank):
    content = (bank / "clients.csv").read_bytes()
    reply = ask.put("/v1/playbooks/bank-kz/tables/clients", files={"file": ("..\\..//./evil dir/clients.csv", content)})
    assert reply.json()["file"] == "clients.csv"


def test_too_large_a_body(start):
    ask = start(most_bytes=2000)
    reply = ask.put("/v1/playbooks/bank-kz/tables/clients", files={"file": ("clients.csv", b"x" * 5000)})
    assert reply.status_code == 413 and "NEXTBEST_SERVER_MOST_BYTES" in reply.text


@pytest.mark.parametrize("format", ["csv", "parquet", "xlsx"])
@pytest.mark.parametrize("table", ["recommendations", "decisions", "messages", "rejects"])
def test_exports(ask, table, format):
    reply = ask.get(f"/v1/playbooks/bank-kz/exports/{table}?format={format}")
    assert reply.status_code == 200 and f"bank-kz-{table}.{format}" in reply.headers["content-disposition"]
    if format == "parquet":
        assert list(pd.read_parquet(io.BytesIO(reply.content)).columns)
    elif format == "csv":
        assert len(list(csv.reader(io.StringIO(reply.text)))) >= 1


def test_a_formula_in_a_name_is_harmless(start):
    ask = start(playbooks=["private-bank"])
    rest = ",40,90000,,700,50000\n"
    codes = ("\"=cmd|'/c calc'!A0\"", "@SUM(A1)", "<script>alert(1)</script>")
    hostile = PRIVATE.splitlines()[0] + "\n" + "".join(code + rest for code in codes)
    ask.put("/v1/playbooks/private-bank/tables/customers", files={"file": ("customers.csv", hostile)})
    assert ended(ask, ask.post("/v1/playbooks/private-bank/jobs", json={"as_of": "2025-08-31", "record": False}).json())["state"] == "done"
    ask.app.state.serving.look()
    cells = [cell for row in csv.reader(io.StringIO(ask.get("/v1/playbooks/private-bank/exports/decisions").text)) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+@" and cell]
    assert ask.get("/v1/playbooks/private-bank/exports/recommendations?format=xlsx").status_code == 200


def test_playbooks_in_words(ask):
    assert {item["playbook"] for item in ask.get("/v1/playbooks").json()} == {"bank-kz", "private-bank"}
    said = ask.get("/v1/playbooks/private-bank").json()
    assert "affluent" in said["segments"] and said["numbers"]["income_tolerance"]["now"] == 0.2
    [premium] = [offer for offer in ask.get("/v1/playbooks/private-bank/offers").json() if offer["offer"] == "premium-credit-card"]
    assert premium["eligible"]["credit"]["else"] == {"en": "Credit score is below the product's minimum"}
    assert premium["numbers"]["minimum_income"] | {"now": 80000} == premium["numbers"]["minimum_income"]


def test_segments_and_statistics(ask):
    found = {item["segment"]: item for item in ask.get("/v1/playbooks/private-bank/segments").json()}
    reply = ask.get("/v1/playbooks/private-bank/customers/C2/decision").json()
    assert reply["segments"] == ["affluent", "retirement_planners"] and "insurance" in reply["gaps"] and "savings" not in reply["gaps"]
    assert found["affluent"]["size"] == 1 and found["credit_builders"]["size"] == 1
    said = ask.get("/v1/playbooks/private-bank/statistics").json()
    assert said["counts"]["customers"]["scored"] == 3 and sum(offer["first"] for offer in said["offers"]) == 3


def test_texts_are_linted(ask):
    texts = ["Айгерим, в августе у вас 5 поездок на такси на 12 500 ₸. Открыть карту.", "СРОЧНО! Только сегодня!"]
    good, bad = ask.post("/v1/playbooks/bank-kz/lint", json={"texts": texts, "channel": "app"}).json()
    assert good["broken"] == [] and "no_pressure" in bad["broken"]
    assert ask.post("/v1/playbooks/bank-kz/lint", json={"texts": ["x"], "language": "kk"}).status_code == 422


def test_an_approved_playbook_is_taken_over_without_a_pause(start, tmp_path):
    own = nb.copy("private-bank", tmp_path / "own")
    ask = start(playbooks=[str(own)])
    path = own / "offers" / "insurance.yaml"
    path.write_text(path.read_text().replace("name: {en: Life and home insurance}", "name: {en: Home insurance}"))
    names = lambda: {offer["name"]["en"] for offer in ask.get("/v1/playbooks/private-bank/offers").json()}  # noqa: E731
    assert "Home insurance" not in names()  # what is not approved is not in force
    assert ask.post("/v1/playbooks/private-bank/approve").status_code == 200
    assert "Home insurance" in names()
    path.write_text(path.read_text().replace("minimum_income", "minimum_incom"))
    reply = ask.post("/v1/playbooks/private-bank/approve")
    assert reply.status_code == 409 and "minimum_income" in reply.text
    assert "Home insurance" in names()


def test_what_is_not_there(ask):
    for path in (
        "/v1/playbooks/none",
        "/v1/playbooks/none/offers",
        "/v1/playbooks/bank-kz/customers/none/decision",
        "/v1/jobs/none",
        "/none",
    ):
        reply = ask.get(path)
        assert reply.status_code == 404 and reply.headers["content-type"] == "application/problem+json", path
        assert reply.json()["problems"] and reply.json()["instance"].startswith("request:")


def test_customers_page_by_page(ask):
    codes, after = [], ""
    while True:
        page = ask.get(f"/v1/playbooks/bank-kz/customers?limit=7&after={after}").json()
        codes += [item["customer"] for item in page["customers"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert len(codes) == len(set(codes)) == 40
