"""Off-policy estimates on logs whose truth is known, and exploration that logs what it did."""

import numpy as np
import pytest

from nextbest.measure.offpolicy import doubly_robust, ipw, overlap, shrunken_dr, snipw, switch_dr
from nextbest.models.bandit import linucb, ramp, thompson

RATES = np.array([0.05, 0.1, 0.3])
TARGET = np.array([0.1, 0.2, 0.7])
TRUTH = float(RATES @ TARGET)


def log(rows, seed, logging=(0.5, 0.3, 0.2)):
    chance, share = np.random.default_rng(seed), np.array(logging)
    chosen = chance.choice(3, rows, p=share)
    return (chance.random(rows) < RATES[chosen]).astype(float), share[chosen], TARGET[chosen], chosen


@pytest.mark.parametrize("method", [ipw, snipw, doubly_robust, switch_dr, shrunken_dr], ids=lambda m: m.__name__)
def test_intervals_hold_the_value_of_the_other_policy(method):
    """The reward model is wrong on purpose (half the rate): right propensities carry the estimate."""
    held = []
    for seed in range(200):
        reward, logged, target, chosen = log(4000, seed)
        model = () if method in (ipw, snipw) else (0.5 * RATES[chosen], np.full(4000, 0.5 * TRUTH))
        found = method(reward, logged, target, *model)
        held.append(found.low <= TRUTH <= found.high)
    assert np.mean(held) >= 0.9


def test_doubly_robust_is_right_with_wrong_propensities_and_a_right_model():
    reward, _, target, chosen = log(50_000, 0)
    found = doubly_robust(reward, np.full(len(reward), 0.4), target, RATES[chosen], np.full(len(reward), TRUTH))
    assert abs(found.value - TRUTH) < 0.01 < abs(ipw(reward, np.full(len(reward), 0.4), target).value - TRUTH)


def test_a_log_that_hardly_reaches_the_target_says_so():
    _, logged, target, _ = log(2000, 0, logging=(0.9, 0.098, 0.002))
    assert overlap(logged, target).thin
    assert not overlap(*log(2000, 0)[1:3]).thin


def test_probabilities_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        ipw(np.ones(2), np.array([0.0, 0.5]), np.array([0.5, 0.5]))


def test_thompson_logs_the_chance_that_its_choice_had():
    """Redrawn many times, each offer is chosen as often as its logged probability says."""
    mean, error = np.tile([0.0, 0.5, 0.2], (4000, 1)), np.full((4000, 3), 0.5)
    found = thompson(mean, error, np.ones((4000, 3), bool), 0)
    shares = np.bincount(found.place, minlength=3) / 4000
    for place in range(3):
        assert found.probability[found.place == place].mean() == pytest.approx(shares[place], abs=0.05)


def test_what_is_filtered_out_is_never_chosen_and_the_rest_adds_up():
    open_ = np.random.default_rng(0).random((500, 4)) < 0.5
    mean, error = np.zeros((500, 4)), np.ones((500, 4))
    for found in (thompson(mean, error, open_, 1), linucb(mean, error, open_, 1.0, 0.2, 1)):
        some = open_.any(axis=1)
        assert (found.place[~some] == -1).all() and (found.probability[~some] == 0).all()
        assert open_[some, found.place[some]].all() and (found.probability[some] > 0).all()
        alone = open_.sum(axis=1) == 1
        assert found.probability[alone] == pytest.approx(1.0)


def test_an_uncertain_offer_is_tried_and_a_sure_one_kept():
    mean, error = np.tile([0.5, 0.4], (2000, 1)), np.tile([0.01, 0.5], (2000, 1))
    assert 0.2 < (thompson(mean, error, np.ones((2000, 2), bool), 0).place == 1).mean() < 0.6
    assert (linucb(mean, error, np.ones((2000, 2), bool), 1.0, 0.0, 0).place == 1).all()


def test_a_log_of_thompson_judges_another_policy():
    chance = np.random.default_rng(3)
    mean, error = np.tile(RATES, (8000, 1)), np.full((8000, 3), 0.15)
    found = thompson(mean, error, np.ones((8000, 3), bool), 4)
    reward = (chance.random(8000) < RATES[found.place]).astype(float)
    judged = snipw(reward, found.probability, TARGET[found.place])
    assert judged.low <= TRUTH <= judged.high


def test_a_new_offer_reaches_a_growing_share():
    draw = np.random.default_rng(0).random(10_000)
    first = np.zeros(10_000, dtype=np.int64)
    shares = [ramp(first, np.array([n]), 100, 0.05, draw) for n in (0, 50, 100, 500)]
    assert [round(float(item.mean()), 1) for item in shares] == [0.1, 0.5, 1.0, 1.0] and (shares[0] <= shares[1]).all()
