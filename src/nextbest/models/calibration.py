"""From a score to a probability that can be believed: as it is, by Platt's line or a staircase, chosen on training folds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from nextbest.arrays import Floats
from nextbest.models.base import State


@dataclass(frozen=True)
class Platt:
    """A line from score to log-odds (Platt 1999)."""

    slope: float
    intercept: float

    @classmethod
    def fitted(cls, score: Floats, taken: Floats) -> "Platt":
        """By maximum likelihood. Where all answers are alike the rate of a few more than there are."""
        if len(set(taken.tolist())) < 2:
            rate = (taken.sum() + 1) / (len(taken) + 2)
            return cls(0.0, float(np.log(rate / (1 - rate))))
        line = LogisticRegression(C=1e6, max_iter=1000).fit(score.reshape(-1, 1), taken)
        return cls(float(line.coef_[0, 0]), float(line.intercept_[0]))

    def probability(self, score: Floats) -> Floats:
        """Shape: that of the score."""
        return np.asarray(expit(self.slope * score + self.intercept))

    def state(self) -> State:
        """As JSON."""
        return {"kind": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class Isotonic:
    """A rising staircase from score to probability (Zadrozny and Elkan 2002), straight between its steps."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def fitted(cls, score: Floats, taken: Floats) -> "Isotonic":
        """By least squares, as though one more had been taken below all others and one more had not above all: a handful of rows at
        either end makes nobody certain.
        """
        stairs = IsotonicRegression().fit([score.min(), *score, score.max()], [1.0, *taken, 0.0])
        return cls(tuple(map(float, stairs.X_thresholds_)), tuple(map(float, stairs.y_thresholds_)))

    def probability(self, score: Floats) -> Floats:
        """Shape: that of the score."""
        return np.asarray(np.interp(score, self.scores, self.probabilities))

    def state(self) -> State:
        """As JSON."""
        return {"kind": "isotonic", "scores": list(self.scores), "probabilities": list(self.probabilities)}


Calibration = Platt | Isotonic


def restored(state: State) -> Calibration:
    """The calibration that was written."""
    if state["kind"] == "platt":
        return Platt(state["slope"], state["intercept"])
    return Isotonic(tuple(state["scores"]), tuple(state["probabilities"]))


def chosen(score: Floats, taken: Floats, fold: Floats, *, are_odds: bool = False) -> Calibration:
    """Platt's line or a staircase, or scores that `are_odds` as they are: the simplest that is not clearly worse than the best, by
    log-loss on folds that it was not fitted on; then fitted on all.

    `score` must come from models that did not see the row's answer.
    """
    tried: list[Callable[[Floats, Floats], Calibration]] = [Platt.fitted, Isotonic.fitted]
    if are_odds:
        tried.insert(0, lambda *_: Platt(1.0, 0.0))
    losses = []
    for fitted in tried:
        probability = np.empty(len(score))
        for held_back in np.unique(fold):
            test = fold == held_back
            probability[test] = fitted(score[~test], taken[~test]).probability(score[test])
        losses.append(log_losses(taken, probability))
    best = min(losses, key=lambda loss: float(loss.mean()))
    simplest = next(fitted for fitted, loss in zip(tried, losses, strict=True) if not clearly_less(best, loss))
    return simplest(score, taken)


def log_losses(taken: Floats, probability: Floats) -> Floats:
    """Of each row. Shape: that of both."""
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(-(taken * np.log(clipped) + (1 - taken) * np.log(1 - clipped)))


def clearly_less(loss: Floats, other: Floats) -> bool:
    """Whether the mean loss of the same rows is less by more than the error of the difference: the rule of one standard error
    (Breiman et al. 1984). Which of two that do as well as each other has the lesser is luck.
    """
    difference = other - loss
    return bool(difference.mean() > difference.std() / np.sqrt(len(difference)))
