"""Exploration over tables of your own scores: which open offer to make, and with which probability it was chosen.

`decide` does the same in SQL (plan/exploration.py). The probability is that of the final policy: offers that filters or caps
took out are taken out before anything is drawn, and what is left adds up to 1. It belongs in the log: without it no other policy
can be judged from it (measure/offpolicy.py).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextbest.arrays import Floats

DRAWS = 200


@dataclass(frozen=True)
class Chosen:
    """The place of the offer chosen for each customer (-1 where none is open), and the probability of that choice."""

    place: npt.NDArray[np.int64]
    probability: Floats


def thompson(mean: Floats, error: Floats, open_: npt.NDArray[np.bool_], seed: int) -> Chosen:
    """Each offer with the probability that it is the best, given a normal belief about its score (Thompson 1933).

    Shapes: (customers, offers). The probabilities are counted over DRAWS draws of all offers, and the choice is drawn from them: what
    is logged is exactly the chance that the choice had, and never 0.
    """
    chance = np.random.default_rng(seed)
    wins = np.zeros(mean.shape)
    rows = np.arange(len(mean))
    for _ in range(DRAWS):
        drawn = np.where(open_, mean + error * chance.standard_normal(mean.shape), -np.inf)
        wins[rows, drawn.argmax(axis=1)] += 1
    probability = wins / DRAWS
    return _drawn(probability, open_, chance)


def linucb(mean: Floats, error: Floats, open_: npt.NDArray[np.bool_], width: float, floor: float, seed: int) -> Chosen:
    """The offer with the highest upper bound, mean + width × error (Li et al. 2010), mixed with chance.

    A share `floor` of choices is spread evenly over the open offers: a policy without chance leaves a log that can judge no other.
    """
    chance = np.random.default_rng(seed)
    rows = np.arange(len(mean))
    best = np.where(open_, mean + width * error, -np.inf).argmax(axis=1)
    count = np.maximum(open_.sum(axis=1, keepdims=True), 1)
    probability = np.where(open_, floor / count, 0.0)
    probability[rows, best] += 1 - floor
    return _drawn(probability, open_, chance)


def ramp(first: npt.NDArray[np.int64], answers: npt.NDArray[np.int64], full: int, start: float, draw: Floats) -> npt.NDArray[np.bool_]:
    """Whether each customer may get the offer that stands first: one with few answers is shown to a growing share only.

    `first`: place of the offer per customer; `answers`: answers per offer; from `full` on everyone may get it, at none a share of
    `start`. `draw`: a fixed number per customer from 0 to 1, so that who may see it at a small share still may at a larger one.
    """
    share = start + (1 - start) * np.minimum(answers / full, 1.0)
    return np.asarray(draw < share[first])


def _drawn(probability: Floats, open_: npt.NDArray[np.bool_], chance: np.random.Generator) -> Chosen:
    probability = np.where(open_, probability, 0.0)
    reached = probability.cumsum(axis=1)
    place = (reached > chance.random((len(reached), 1)) * reached[:, -1:]).argmax(axis=1)
    some = open_.any(axis=1)
    return Chosen(np.where(some, place, -1), np.where(some, probability[np.arange(len(place)), place], 0.0))
