"""BG/NBD and gamma-gamma on worlds of known law."""

import numpy as np
import pytest

from nextbest.models.purchases import Rhythm, Spending

TRUE = Rhythm(r=0.8, alpha=40.0, a=1.2, b=3.5)


def world(customers, days=365, ahead=120, seed=0):
    """Customers as the law has them, one purchase after the other: repeats, last, age, alive, purchases ahead."""
    chance = np.random.default_rng(seed)
    rows = []
    for _ in range(customers):
        rate, leaves, age = chance.gamma(TRUE.r, 1 / TRUE.alpha), chance.beta(TRUE.a, TRUE.b), chance.uniform(60, days)
        at, repeats, last, later, alive = 0.0, 0, 0.0, 0, chance.random() >= 0
        while True:
            at += chance.exponential(1 / rate)
            if at > age + ahead:
                break
            if at <= age:
                repeats, last = repeats + 1, at
            else:
                later += 1
            if chance.random() < leaves:
                alive = at > age
                break
        rows.append((repeats, last, age, alive, later))
    return np.array(rows, dtype=float).T


@pytest.fixture(scope="module")
def known():
    return world(6000)


def test_the_law_is_recovered(known):
    repeats, last, age, _, _ = known
    found = Rhythm.fitted(repeats, last, age)
    assert found.r / found.alpha == pytest.approx(TRUE.r / TRUE.alpha, rel=0.1)
    assert found.a / (found.a + found.b) == pytest.approx(TRUE.a / (TRUE.a + TRUE.b), abs=0.04)


def test_a_forecast_adds_up_to_what_came(known):
    repeats, last, age, alive, later = known
    found = Rhythm.fitted(repeats, last, age)
    expected = found.purchases(repeats, last, age, 120)
    assert expected.sum() == pytest.approx(later.sum(), rel=0.06)
    for part in np.array_split(np.argsort(expected), 5):
        assert expected[part].mean() == pytest.approx(later[part].mean(), rel=0.2, abs=0.08)
    naive = repeats / age * 120
    assert abs(expected - later).mean() < abs(naive - later).mean()
    for part in np.array_split(np.argsort(found.alive(repeats, last, age)), 4):
        assert found.alive(repeats, last, age)[part].mean() == pytest.approx(alive[part].mean(), abs=0.06)


def test_who_has_just_bought_is_alive_and_who_is_long_overdue_is_not(known):
    found = Rhythm.fitted(*known[:3])
    ten, age = np.array([10.0, 10.0, 0.0]), np.array([300.0, 300.0, 300.0])
    just, overdue, never_again = found.alive(ten, np.array([300.0, 60.0, 0.0]), age)
    assert just > 0.8 > 0.1 > overdue and never_again == 1  # the law knows no leaving before the second purchase


def test_few_customers_and_odd_ones_make_a_model_all_the_same():
    for repeats, last, age in (([0.0], [0.0], [10.0]), ([0.0, 0.0], [0.0, 0.0], [0.0, 5.0]), ([3.0] * 5, [9.0] * 5, [9.0] * 5)):
        arrays = [np.array(values) for values in (repeats, last, age)]
        expected = Rhythm.fitted(*arrays).purchases(*arrays, 30)
        assert np.isfinite(expected).all() and (expected >= 0).all()


def test_an_average_is_drawn_towards_that_of_all_where_purchases_are_few():
    chance = np.random.default_rng(3)
    mean, purchases = 500 / chance.gamma(6, 1 / 5, 4000), chance.integers(1, 12, 4000).astype(float)
    average = np.array([chance.gamma(4, own / 4, int(count)).mean() for own, count in zip(mean, purchases, strict=True)])
    found = Spending.fitted(purchases, average)
    once, often = found.average(np.array([1.0, 11.0]), np.array([2000.0, 2000.0]))
    assert average.mean() < once < often < 2000
    told = found.average(purchases, average)
    assert abs(told - mean).mean() < abs(average - mean).mean() and told.mean() == pytest.approx(mean.mean(), rel=0.05)
