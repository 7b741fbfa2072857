"""A server with a trained model: batch jobs and fresh decisions know what it says."""

import shutil
import time

import pandas as pd
import pytest
from tests.learning.test_activity import shop
from tests.web.conftest import ended
from typer.testing import CliRunner

import nextbest as nb
from nextbest.cli import app
from nextbest.errors import UsageError
from nextbest.models import activity
from nextbest.services.activity import train_activity
from nextbest.services.forecasts import digests

API = "/v1/playbooks/shop"
TABLES = {"market_file": "customers", "market_money": "revenue", "market_time": "minutes"}


def trained(data, out, playbook="shop"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activity, "FAMILIES", {"linear": [{"C": 1.0}]})
        return train_activity(data, playbook, out=out).folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return shop(tmp_path_factory.mktemp("shop"), 150)


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    return trained(data, tmp_path_factory.mktemp("models") / "activity")


@pytest.fixture(scope="module")
def ask(start, data, model):
    client = start(playbooks=["private-bank", "shop"], models=[str(model)])
    for file, table in TABLES.items():
        with (data / f"{file}.csv").open("rb") as content:
            assert client.put(f"{API}/tables/{table}", files={"file": (f"{file}.csv", content)}).status_code == 200
    job = ended(client, client.post(f"{API}/jobs", json={"as_of": "2025-08-31", "record": False}).json())
    assert job["state"] == "done", job
    client.app.state.serving.look()
    return client


def posted(data, code):
    tables = {table: pd.read_csv(data / f"{file}.csv", dtype=str, keep_default_na=False) for file, table in TABLES.items()}
    return {"tables": {name: rows[rows.id == str(code)].to_dict("records") for name, rows in tables.items()}, "as_of": "2025-08-31"}


def test_of_one_customer_it_is_no_problem_that_little_is_known(ask, data):
    asked = posted(data, pd.read_csv(data / "market_file.csv").id[0])
    asked["tables"]["customers"][0]["Акционные_покупки"] = ""
    told = ask.post(f"{API}/decisions", json=asked)
    assert told.status_code == 200 and "unknown_feature" not in {item["problem"] for item in told.json()["problems"]}


def test_a_job_fills_in_the_forecast_and_names_the_model(ask):
    run = ask.app.state.serving.desk("shop").host.run()
    assert run.features.risk.between(0, 1).all() and run.features.risk.nunique() > 50
    assert [item["task"] for item in run.record["models"]] == ["activity"]


def test_a_fresh_decision_is_the_stored_one(ask, data):
    """Whoever comes before: the forecast of one customer is not that of the next."""
    compared = 0
    for code in (3, 40, 77, 3, 120, 60):
        fresh = ask.post(f"{API}/decisions", json=posted(data, code)).json()
        fresh.pop("problems")
        if fresh["left_alone"] is None:  # a job that is not recorded holds nobody out
            compared += 1
            assert fresh == ask.get(f"{API}/customers/{code}/decision").json(), code
    assert compared >= 4


def test_what_is_posted_goes_before_the_model(ask, data):
    said = posted(data, 3)
    likely = {
        risk: {**said, "tables": {**said["tables"], "customers": [{**said["tables"]["customers"][0], "risk": risk}]}} for risk in (0, 1)
    }
    calm, leaving = (ask.post(f"{API}/decisions", json=asked).json()["segments"] for asked in likely.values())
    assert calm != leaving


def test_a_model_trained_anew_is_taken_over(ask, data, model, tmp_path):
    asked, desk = posted(data, 3), ask.app.state.serving.desk("shop")
    ask.post(f"{API}/decisions", json=asked)
    assert desk.online
    kept = shutil.copytree(model, tmp_path / "kept")
    trained(shop(tmp_path / "later", 150, seed=7), model)
    taken_over, until = False, time.monotonic() + 60
    while not taken_over and time.monotonic() < until:  # whichever look comes first, this one or the server's own
        ask.app.state.serving.look()
        ask.post(f"{API}/decisions", json=asked)
        taken_over = any(online._digests == digests([model]) for online in desk.online.values())
    assert taken_over and digests([model]) != digests([kept])
    shutil.rmtree(model)
    kept.rename(model)
    ask.app.state.serving.look()


def test_while_a_model_is_away_refusals_hold_all_the_same(ask, model, tmp_path):
    desk = ask.app.state.serving.desk("shop")
    model.rename(tmp_path / "away")
    try:
        ask.post("/v1/customers/5/consents", json={"purpose": "profiling", "granted": False, "source": "a letter"})
        ask.app.state.serving.look()
        said = ask.get(f"{API}/customers/5/decision").json()
        assert (said["left_alone"], said["message"], said["offers"]) == ("profiling", None, [])
        assert desk.models
    finally:
        (tmp_path / "away").rename(model)


def test_a_model_of_other_features_waits_for_its_playbook(ask, data, model, tmp_path):
    """Engines at work go on with the model that they have; the playbook is approved next."""
    desk, kept, other = ask.app.state.serving.desk("shop"), tmp_path / "kept", tmp_path / "mine"
    asked = posted(data, 3)
    before = ask.post(f"{API}/decisions", json=asked).json()
    learn = nb.copy("shop", other) / "learn.yaml"
    learn.write_text(
        learn.read_text().replace("    - minutes_lately\n", "").replace("[minutes_lately, minutes_change]", "[minutes_change]")
    )
    model.rename(kept)
    try:
        trained(data, model, other)
        ask.app.state.serving.look()
        assert ask.app.state.serving.ready and desk.online
        assert ask.post(f"{API}/decisions", json=asked).json() == before
        later = ask.post(f"{API}/decisions", json={**asked, "as_of": "2025-09-30"})
        assert later.status_code == 503 and "other features" in later.text
    finally:
        shutil.rmtree(model)
        kept.rename(model)
        ask.app.state.serving.look()


def test_a_model_that_nobody_can_ask_is_refused_at_the_start(start, model, tmp_path):
    with pytest.raises(UsageError, match="'shop', which is not served"):
        start(playbooks=["bank-kz"], models=[str(model)])
    for wrong in (["-p", "bank-kz", "--model", str(model)], ["-p", "shop", "--model", str(tmp_path)]):
        done = CliRunner().invoke(app, ["serve", "--no-keys", "--port", "0", *wrong])
        assert done.exit_code == 2 and str(wrong[-1]) in done.output
