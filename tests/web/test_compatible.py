"""The shapes of two older services: their clients work unchanged."""

import csv
import io

import pytest


@pytest.fixture(scope="module")
def gone(start, bank):
    """Upload and go: three files, one call."""
    client = start(playbooks=["bank-kz"])
    for table in ("clients", "transactions", "transfers"):
        with (bank / f"{table}.csv").open("rb") as file:
            reply = client.post(f"/upload/{table}", files={"file": (f"{table}.csv", file)})
            assert reply.status_code == 200 and reply.json()["status"] == "ok"
    reply = client.post("/process")
    assert reply.status_code == 200 and reply.json()["status"] == "done" and reply.json()["processed"] == 40
    assert reply.json()["as_of"] == "2025-08-31"  # the last day in the tables
    return client


def test_recommendations_of_a_known_customer(ask):
    said = ask.get("/recommend/C1").json()
    assert set(said) == {"customer_id", "recommended_products", "total_recommendations"}
    assert said["customer_id"] == "C1" and said["total_recommendations"] == len(said["recommended_products"]) > 0
    for item in said["recommended_products"]:
        assert set(item) == {"product_name", "category", "reason", "confidence_score"}
        assert item["confidence_score"] > 30 and item["product_name"] != "Savings account"
    assert (
        "of 40" in said["recommended_products"][0]["reason"]
        and "meets the legal age (10 of 10)" in said["recommended_products"][0]["reason"]
    )
    assert ask.get("/recommend/none").status_code == 404


def test_recommendations_of_a_posted_customer(ask):
    row = {
        "customer_id": "N1",
        "age": 26,
        "income": 55000,
        "existing_products": ["Savings Account"],
        "credit_score": 700,
        "avg_account_balance": 4000,
    }
    posted, known = ask.post("/recommend/", json=row).json(), ask.get("/recommend/C1").json()
    assert posted["recommended_products"] == known["recommended_products"]
    assert ask.get("/recommend/N1").status_code == 404  # nothing is stored
    assert ask.post("/recommend/", json={"age": 26}).status_code == 422


def test_customers_and_products(ask):
    assert ask.get("/customers").json() == {"customers": ["C1", "C2", "C3"], "total": 3}
    found = ask.get("/products").json()
    assert found["total"] == 12
    [premium] = [item for item in found["products"] if item["product_id"] == "premium-credit-card"]
    assert premium["requirements"] == {"minimum_age": 25, "minimum_income": 80000, "minimum_score": 680}


def test_the_top_4(gone):
    said = gone.get("/recommendations/7").json()
    assert said["client_code"] == "7" and [item["rank"] for item in said["recommendations"]] == [1, 2, 3, 4]
    assert said["push_notification"]


def test_pushes(gone):
    said = gone.post("/push-notifications", json={"client_codes": [1, "2"]}).json()
    assert [row["client_code"] for row in said["push_notifications"]] == ["1", "2"]
    assert gone.post("/push-notifications", json={"client_codes": []}).json()["total"] == 0
    assert gone.post("/push-notifications", json={"client_codes": [1] * 1001}).status_code == 422
    everyone = gone.post("/push-notifications").json()
    assert everyone["total"] == 40
    assert gone.post("/push-notifications", json={"client_codes": 7}).status_code == 422


def test_the_file(gone):
    reply = gone.get("/export/csv")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert list(rows[0]) == ["client_code", "product", "push_notification"] and len(rows) == 40
    assert reply.headers["content-type"].startswith("text/csv")


def test_stats_and_health(gone):
    assert gone.get("/stats").json()["counts"]["customers"]["scored"] == 40
    assert gone.get("/health").json()["status"] == "ok"


def test_a_table_that_there_is_not(gone):
    assert gone.post("/upload/accounts", files={"file": ("a.csv", b"x")}).status_code == 404


def test_a_value_that_is_none_is_told(ask):
    reply = ask.post(
        "/recommend/", json={"customer_id": "C9", "age": {"years": 34}, "income": 95000, "credit_score": 720, "avg_account_balance": 1}
    )
    assert (
        reply.status_code == 422 and "age" in reply.text and "is no value" in reply.text and "34" not in reply.json()["problems"][0]["what"]
    )
