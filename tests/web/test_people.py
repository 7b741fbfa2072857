"""What customers say and what became of contacts: refusals, rests, erasure, outcomes."""

import pandas as pd
from tests.web.conftest import PRIVATE, decided_private, ended


def test_earlier_contacts_count_online_too(start):
    """One message a day: the second recorded decision of the day is held back."""
    ask, path = start(), "/v1/playbooks/private-bank/decisions"
    row = {"customer_id": "Z2", "age": 40, "income": 90000, "balance": 50000, "credit_score": 700}
    first = ask.post(path, json={"tables": {"customers": [row]}, "as_of": "2025-08-31", "record": True}).json()
    assert first["message"]["withheld"] is None
    second = ask.post(path, json={"tables": {"customers": [{**row, "balance": 50001}]}, "as_of": "2025-08-31"}).json()
    assert second["message"]["withheld"] == "cap:day"


def test_a_refusal_holds_at_once_for_stored_decisions(ask):
    path = "/v1/playbooks/bank-kz/customers/9/decision"
    assert ask.get(path).json()["message"]["text"]
    assert ask.post("/v1/customers/9/consents", json={"purpose": "marketing", "granted": False}).status_code == 204
    said = ask.get(path).json()
    assert said["message"]["text"] is None and said["message"]["withheld"] == "withdrawn" and said["offers"]
    ask.post("/v1/customers/9/consents", json={"purpose": "profiling", "granted": False})
    said = ask.get(path).json()
    assert said["left_alone"] == "profiling" and said["offers"] == [] and said["message"] is None
    assert ask.get("/v1/playbooks/bank-kz/customers/9/explanation").status_code == 404
    exported = ask.get("/v1/playbooks/bank-kz/exports/recommendations").text
    assert "\n9," not in exported and "\n8," in exported


def test_erasure_takes_the_customer_out_of_every_output(start, bank):
    ask = start(playbooks=["private-bank"])
    ask.put("/v1/playbooks/private-bank/tables/customers", files={"file": ("customers.csv", PRIVATE)})
    job = ended(ask, ask.post("/v1/playbooks/private-bank/jobs", json={"as_of": "2025-08-31"}).json())
    assert job["state"] == "done"
    ask.app.state.serving.look()
    assert ask.get("/v1/playbooks/private-bank/customers/C2/decision").status_code == 200
    assert ask.delete("/v1/customers/C2").json()["rows_removed"] > 0
    assert ask.get("/v1/playbooks/private-bank/customers/C2/decision").status_code == 404
    folder = ask.app.state.serving.first.host.current
    for path in folder.glob("*.parquet"):
        assert "C2" not in pd.read_parquet(path).iloc[:, 0].astype(str).tolist()
    assert ask.get("/v1/customers/C2").status_code == 404


def test_customers_with_different_consents_one_after_another(start):
    """The engine is kept from one customer to the next: what one said must not shape what is read of another."""
    ask, path = start(playbooks=["private-bank"]), "/v1/playbooks/private-bank/decisions"
    said = {"A": [], "B": [("marketing", False)], "C": [("profiling", True), ("marketing", True)], "D": [("profiling", False)], "E": []}
    for code, consents in said.items():
        for purpose, granted in consents:
            assert ask.post(f"/v1/customers/{code}/consents", json={"purpose": purpose, "granted": granted}).status_code == 204
        row = {"customer_id": code, "age": 40, "income": 90000, "balance": 50000, "credit_score": 700}
        reply = ask.post(path, json={"tables": {"customers": [row]}, "as_of": "2025-08-31"})
        assert reply.status_code == 200, reply.text
        withheld = (reply.json()["message"] or {}).get("withheld")
        assert (reply.json()["left_alone"], withheld) == ("profiling" if code == "D" else None, "consent" if code == "B" else None)


def test_a_refusal_between_two_identical_recorded_requests_holds(start):
    ask, path = start(playbooks=["private-bank"]), "/v1/playbooks/private-bank/decisions"
    row = {"customer_id": "Z9", "age": 40, "income": 90000, "balance": 50000, "credit_score": 700}
    asked = {"tables": {"customers": [row]}, "as_of": "2025-08-31", "record": True}
    first = ask.post(path, json=asked).json()
    assert first["message"]["text"]
    ask.post("/v1/customers/Z9/consents", json={"purpose": "marketing", "granted": False})
    again = ask.post(path, json=asked).json()
    assert again["decision_id"] == first["decision_id"]
    assert again["message"]["text"] is None and again["message"]["withheld"] == "withdrawn"
    looked = ask.post(path, json={**asked, "record": False}).json()
    assert looked["decision_id"] is None and looked["message"]["withheld"] == "consent"


def test_a_rest_from_one_offer_holds_for_that_offer_only(start):
    ask = decided_private(start)
    path = "/v1/playbooks/private-bank/customers/C1"
    offer = ask.get(f"{path}/decision").json()["message"]["offer"]
    other = "business-loan"
    ask.post("/v1/customers/C1/suppressions", json={"until": "2199-01-01", "scope": "offer", "what": other})
    assert ask.get(f"{path}/decision").json()["message"]["text"]
    ask.post("/v1/customers/C1/suppressions", json={"until": "2199-01-01", "scope": "offer", "what": offer})
    assert ask.get(f"{path}/decision").json()["message"]["withheld"] == "withdrawn"
    said = ask.get(f"{path}/explanation").json()
    assert (said["message"], said["send_at"], said["treatment"], said["withheld"]) == (None, None, None, "withdrawn")


def test_erasure_after_a_trial_holds_for_later_trials_and_rejects_too(start):
    """Nothing of a trial is in the ledger; the customer is gone all the same, from odd rows as well."""
    ask = decided_private(start, PRIVATE.replace("C2,45,150000", "C2,45,oldSECRET"))
    rejects = "/v1/playbooks/private-bank/exports/rejects"
    assert "oldSECRET" in ask.get(rejects).text
    assert ask.delete("/v1/customers/C2").status_code == 200
    assert "oldSECRET" not in ask.get(rejects).text and "C2" not in ask.get(rejects).text
    job = ended(ask, ask.post("/v1/playbooks/private-bank/jobs", json={"as_of": "2025-08-31", "record": False}).json())
    assert job["state"] == "done"
    ask.app.state.serving.look()
    assert ask.get("/v1/playbooks/private-bank/customers/C2/decision").json()["offers"] == []
    assert "C2" not in ask.get("/v1/playbooks/private-bank/customers").text + ask.get("/customers").text
    for table in ("recommendations", "decisions", "messages", "rejects"):
        assert "C2" not in ask.get(f"/v1/playbooks/private-bank/exports/{table}").text


def test_an_erased_customer_posted_again_is_left_alone(start):
    ask, path = start(playbooks=["private-bank"]), "/v1/playbooks/private-bank/decisions"
    row = {"customer_id": "Z8", "age": 40, "income": 90000, "balance": 50000, "credit_score": 700}
    asked = {"tables": {"customers": [row]}, "as_of": "2025-08-31", "record": True}
    assert ask.post(path, json=asked).json()["offers"]
    assert ask.delete("/v1/customers/Z8").status_code == 200
    for record in (True, False):
        reply = ask.post(path, json={**asked, "record": record, "at": "2025-09-03T10:00:00Z"})
        assert reply.status_code == 200 and reply.json()["left_alone"] == "erased" and reply.json()["offers"] == []
    assert ask.get("/v1/customers/Z8").status_code == 404


def test_outcomes_come_in_once(start):
    ask = start(playbooks=["private-bank"])
    row = {"customer_id": "Z3", "age": 40, "income": 90000, "balance": 50000, "credit_score": 700}
    asked = {"tables": {"customers": [row]}, "as_of": "2025-08-31", "record": True}
    decision = ask.post("/v1/playbooks/private-bank/decisions", json=asked).json()
    event = {"event_id": "e1", "event": "clicked", "happened": "2025-09-02T10:00:00Z", "decision_id": decision["decision_id"]}
    assert ask.post("/v1/outcomes", json=[event]).json()["added"] == 1
    assert ask.post("/v1/outcomes", json=[event]).json() == {"rows": 1, "added": 0, "known": 1, "opted_out": 0, "rejected": {}}
    reply = ask.post("/v1/outcomes", json=[{**event, "event_id": "e2", "decision_id": "none-1"}])
    assert reply.status_code == 422 and "unknown_decision" in reply.text


def test_codes_of_digits_and_of_letters_one_after_another(start):
    """The engine's tables are made for the first customer: the second one's code must fit them too."""
    ask, path = start(playbooks=["private-bank"]), "/v1/playbooks/private-bank/decisions"
    for code in ("17", "A17", "0017"):
        row = {"customer_id": code, "age": 40, "income": 90000, "balance": 50000, "credit_score": 700}
        reply = ask.post(path, json={"tables": {"customers": [row]}, "as_of": "2025-08-31"})
        assert reply.status_code == 200 and reply.json()["offers"]
