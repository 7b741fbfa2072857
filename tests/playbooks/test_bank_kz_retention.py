"""Who may leave a bank: learned from the month before, and heard before anything is sold."""

import numpy as np
import pandas as pd
import pytest

import nextbest
from nextbest.errors import DataError, PlaybookError
from nextbest.models import activity
from nextbest.services.activity import predict, train_activity

MONTHS = ["2025-05", "2025-06", "2025-07", "2025-08"]


def bank(folder, customers=300, seed=0, months=MONTHS):
    """A client whose salary has gone elsewhere spends little in the month after. `stops`: the month in which it did not come."""
    chance = np.random.default_rng(seed)
    stops = chance.choice([2, 3, 9], customers, p=[0.35, 0.25, 0.4])
    clients = {
        "client_code": range(1, customers + 1),
        "name": "Айгерим",
        "status": "Зарплатный клиент",
        "age": chance.integers(20, 60, customers),
    }
    people = pd.DataFrame(clients).assign(city="Алматы", avg_monthly_balance_KZT=chance.integers(50_000, 900_000, customers), stops=stops)
    moved, spent = [], []
    for place, month in enumerate(months):
        gone = people.stops <= place
        moved += [
            people[~gone].assign(date=f"{month}-05 09:00:00", type="salary_in", direction="in", amount=400_000),
            people[gone].assign(date=f"{month}-06 09:00:00", type="card_in", direction="in", amount=300_000),
            people[gone].assign(date=f"{month}-20 09:00:00", type="card_out", direction="out", amount=200_000),
        ]
        usual = chance.uniform(20_000, 30_000, customers)
        amount = np.where(people.stops < place, 0.2, 1.0) * usual
        for day in (3, 10, 17, 24):
            spent.append(people.assign(date=f"{month}-{day:02} 12:00:00", category="Такси", amount=amount.round(2)))
    folder.mkdir(parents=True, exist_ok=True)
    people.drop(columns="stops").to_csv(folder / "clients.csv", index=False)
    columns = ["client_code", "date", "amount", "currency"]
    pd.concat(moved).assign(currency="KZT")[[*columns, "type", "direction"]].to_csv(folder / "transfers.csv", index=False)
    pd.concat(spent).assign(currency="KZT")[[*columns, "category"]].to_csv(folder / "transactions.csv", index=False)
    return folder, people.set_index("client_code").stops


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retention")
    before, activity.FAMILIES = activity.FAMILIES, {"linear": [{"C": 1.0}]}
    try:
        data, stops = bank(folder / "data")
        found = train_activity(data, "bank-kz-retention", out=folder / "model", as_of="2025-08-31")
    finally:
        activity.FAMILIES = before
    return folder, found, stops


def test_the_playbook_holds_and_the_bank_s_own_offers_stay():
    assert nextbest.check("bank-kz-retention").examples >= 60


def test_it_learns_from_the_month_before_what_came_of_it(trained):
    """Of the clients of July it knows the salary that did not come, and in August what they spent."""
    _, found, stops = trained
    assert found.card.rows == 300 and found.card.taken == (stops == 2).sum()
    assert found.card.figures["roc_auc"]["mean"] > 0.95 and found.card.as_of == "2025-08-31"


def test_who_has_just_stopped_is_kept_before_anything_is_sold(trained, tmp_path):
    folder, _, stops = trained
    run = nextbest.decide(folder / "data", "bank-kz-retention", as_of="2025-08-31", out=tmp_path / "out", models=[folder / "model"])
    features, first = run.features.set_index("client_code"), run.decisions[run.decisions["rank"] == 1].set_index("client_code").offer
    just, stays = stops.index[stops == 3], stops.index[stops == 9]
    assert features.risk[just].min() > 0.5 > features.risk[stays].max()
    assert set(first[just]) <= {"return-cashback", "salary-bonus"} and not set(first[stays]) & {"return-cashback", "salary-bonus"}
    written = run.messages.set_index("client_code").loc[just]
    assert written.message.notna().all() and written.characters.between(180, 220).all()
    predict(folder / "data", folder / "model", out=tmp_path / "said.parquet")
    assert pd.read_parquet(tmp_path / "said.parquet").set_index("client_code").probability.equals(features.risk.rename("probability"))


def test_without_a_forecast_it_decides_as_the_bank_it_stands_on(trained, tmp_path):
    folder, _, _ = trained
    ours, theirs = (
        nextbest.decide(folder / "data", name, as_of="2025-08-31", out=tmp_path / name).decisions
        for name in ("bank-kz-retention", "bank-kz")
    )
    kept = ours[~ours.offer.isin(["return-cashback", "salary-bonus"])].reset_index(drop=True)
    columns = ["client_code", "offer", "rank", "score", "benefit", "confidence"]
    pd.testing.assert_frame_equal(kept[columns], theirs[columns])


def test_rows_of_the_first_day_of_the_next_month_are_too_late(tmp_path):
    data, _ = bank(tmp_path / "data", 60, months=["2025-06", "2025-07", "2025-08"])
    for name in ("transactions", "transfers"):
        text = (data / f"{name}.csv").read_text()
        (data / f"{name}.csv").write_text(text.replace("2025-06-03 12", "2025-06-01 00").replace("2025-06-05 09", "2025-06-01 00"))
    with pytest.raises(DataError, match="hand in rows from 2025-05-01 on"):
        train_activity(data, "bank-kz-retention", out=tmp_path / "model", as_of="2025-08-31")


def test_features_of_an_earlier_day_need_as_long_a_history(tmp_path):
    data, _ = bank(tmp_path / "data", 60, months=["2025-06", "2025-07", "2025-08"])
    with pytest.raises(DataError, match="hand in rows from 2025-05-01 on") as told:
        train_activity(data, "bank-kz-retention", out=tmp_path / "model", as_of="2025-08-31")
    assert len(told.value.problems) == 2


def test_a_label_and_a_rule_are_too_much(tmp_path):
    book = nextbest.copy("bank-kz-retention", tmp_path / "book")
    learn = (book / "learn.yaml").read_text()
    (book / "learn.yaml").write_text(learn.replace("activity:\n", "activity:\n  label: status\n", 1))
    with pytest.raises(PlaybookError, match="say the same"):
        train_activity(tmp_path, book, out=tmp_path / "model", as_of="2025-08-31")
