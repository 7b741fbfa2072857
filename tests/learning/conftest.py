"""A small bank of known law: what people take depends on their income, by product, and on nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PRODUCTS = pd.DataFrame(
    {
        "product_id": [0, 1, 2, 3],
        "product_type": ["FD", "CC", "PL", "PremiumCC"],
        "min_income": [2.0, 3.0, 3.0, 6.0],
        "segment_bias": ["All", "Mass", "Mass", "HNI"],
        "is_premium": [0, 0, 0, 1],
    }
)
SLOPE = {0: 0.0, 1: -1.0, 2: -1.5, 3: 1.5}
"""Log-odds per standard deviation of income."""


def law(income: np.ndarray, product: np.ndarray) -> np.ndarray:
    slopes = np.array([SLOPE[item] for item in product])
    return 1 / (1 + np.exp(-(-1.5 + slopes * (income - 6) / 3)))


def world(folder: Path, customers: int = 300, rounds: int = 3, seed: int = 0) -> Path:
    chance = np.random.default_rng(seed)
    people = pd.DataFrame(
        {
            "customer_id": np.arange(customers),
            "age": chance.integers(21, 70, customers),
            "income": chance.uniform(2, 12, customers).round(4),
            "city_tier": chance.integers(1, 4, customers),
            "channel_pref": chance.choice(["mobile", "web"], customers),
            "segment": chance.choice(["Mass", "Affluent", "HNI"], customers),
            "salary_day": chance.integers(25, 32, customers),
        }
    )
    rows = customers * 5
    spent = pd.DataFrame(
        {
            "customer_id": chance.integers(0, customers, rows),
            "date": pd.Timestamp("2025-05-01") + pd.to_timedelta(chance.integers(0, 170, rows), unit="D"),
            "amount": chance.uniform(100, 3000, rows).round(2),
            "mcc": chance.choice(["dining", "fuel", "travel"], rows),
            "channel": chance.choice(["mobile", "web"], rows),
        }
    )
    spent["date"] = spent.date.dt.strftime("%Y-%m-%d")
    every = people[["customer_id", "income"]].merge(PRODUCTS, how="cross")
    held = every[chance.random(len(every)) < 0.15][["customer_id", "product_id"]]
    free = every.merge(held.assign(held=1), how="left", on=["customer_id", "product_id"])
    free = free[free.held.isna() & (free.income >= 0.8 * free.min_income)]
    answers = []
    for turn in range(rounds):
        asked = free[chance.random(len(free)) < 0.8]
        taken = chance.random(len(asked)) < law(asked.income.to_numpy(), asked.product_id.to_numpy())
        answers.append(asked[["customer_id", "product_id"]].assign(campaign_ix=turn, label=taken.astype(int)))
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"customers": people, "products": PRODUCTS, "holdings": held, "transactions": spent, "responses": pd.concat(answers)}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def bank(tmp_path_factory) -> Path:
    return world(tmp_path_factory.mktemp("learning") / "bank")
