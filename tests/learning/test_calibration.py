"""A score becomes a probability by the simplest way that is not clearly worse than the best."""

import numpy as np
import pytest
from scipy.special import expit

from nextbest.models.calibration import Isotonic, Platt, chosen, clearly_less, restored

LAWS = {
    "log-odds": expit,
    "too sure": lambda score: expit(0.4 * score - 0.5),
    "bent": lambda score: np.where(score > 0, 0.9, 0.15),
}


def answers(law, rows=3000, seed=0):
    chance = np.random.default_rng(seed)
    score = chance.normal(0, 2, rows)
    return score, (chance.random(rows) < LAWS[law](score)).astype(float), chance.integers(0, 5, rows).astype(float)


@pytest.mark.parametrize("law, expected", [("log-odds", Platt(1.0, 0.0)), ("too sure", Platt), ("bent", Isotonic)])
def test_the_simplest_that_is_not_clearly_worse(law, expected):
    found = chosen(*answers(law), are_odds=True)
    assert found == expected if isinstance(expected, Platt) else isinstance(found, expected)
    score = np.linspace(-3, 3, 50)
    assert np.abs(found.probability(score) - LAWS[law](score)).mean() < 0.04
    assert restored(found.state()) == found
    assert chosen(*answers(law)) != Platt(1.0, 0.0)  # what may be anything is not taken for log-odds


def test_which_of_two_that_do_as_well_has_the_lesser_loss_is_luck():
    chance = np.random.default_rng(0)
    one, noise = chance.exponential(0.3, 500), chance.normal(0, 0.1, 500)
    other = one + noise - noise.mean()
    assert not clearly_less(one, other + 0.001) and clearly_less(one, other + 0.05) and not clearly_less(one, one)


def test_a_handful_of_rows_makes_nobody_certain():
    """Three rows below all that were taken, four above all that were not."""
    score, taken = np.arange(12.0), np.array([0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 1.0])
    found = Isotonic.fitted(score, taken)
    assert found.probability(np.array([-9.0, 2.0, 5.0, 11.0, 99.0])) == pytest.approx([1 / 4, 1 / 4, 2 / 5, 4 / 5, 4 / 5])
