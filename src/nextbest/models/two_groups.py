"""Two groups behind labels that are not to be trusted: those whose fall shows in their features, and all others.

Some of the others fall too, for reasons that hardly show; to any line or tree they look like mistakes to be learned. Here they
are expected: of the others each falls at a low rate, which follows from the features but little.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri
from sklearn.linear_model import LogisticRegression
from sklearn.utils import ClassifierTags, Tags, TargetTags

from nextbest.arrays import Floats

GRID, ROUNDS = 200, 15
TAIL = 0.005
"""What lies beyond this share of the rows on either side counts as lying there: one giant must not stretch the grid."""
LEAST = 0.02
"""A density is at least so much of its peak over all: where hardly anyone is, nothing is certain."""
EDGE = 0.005
"""A rank counts as no nearer to either end than that."""
PRIOR = 2.0
"""Rows of either group that each word is taken to have had before any was seen."""
WEAK = 0.02
"""How little the rate of the others may follow from the features: the inverse weight of the ridge on its slopes."""


class TwoGroups:
    """A discriminant of two groups, found by EM (Dempster, Laird and Rubin 1977) as labels with noise on one side
    (Lawrence and Schölkopf 2001).

    Each group has a kernel density of every number (Silverman 1986), shares of every word, and correlations: a Gaussian copula
    over the ranks (Liu, Lafferty and Wasserman 2009), drawn towards none by `shrink` from 0 to 1. Rows are `numbers` columns, then
    words as codes; a number of at most two values counts as a word. Nothing is missing.
    """

    def __init__(self, numbers: int, shrink: float = 0.3):
        self.numbers, self.shrink = numbers, shrink

    def __sklearn_tags__(self) -> Tags:
        """What a pipeline asks of its last step."""
        return Tags("classifier", target_tags=TargetTags(required=True), classifier_tags=ClassifierTags())

    def fit(self, rows: Floats, falls: Floats) -> "TwoGroups":
        """`rows`: (rows, columns). `falls`: 1 or 0."""
        rows, falls = np.asarray(rows, dtype=float), np.asarray(falls, dtype=float)
        several = np.array([len(np.unique(column)) > 2 for column in rows.T])
        self.smooth_ = np.flatnonzero(several & (np.arange(rows.shape[1]) < self.numbers))
        self.coded_ = np.setdiff1d(np.arange(rows.shape[1]), self.smooth_)
        self.values_ = [np.unique(rows[:, column]) for column in self.coded_]
        numbers = [_Density(rows[:, column]) for column in self.smooth_]
        self.grids_ = [number.grid for number in numbers]
        within = self._within(rows)
        self.center_, self.scale_ = within.mean(axis=0), within.std(axis=0)
        shows, rate = 0.9 * falls, np.full(len(rows), 0.1)
        for _ in range(ROUNDS):
            self._describe(rows, numbers, shows)
            belongs = expit(self._odds(rows))
            shows = np.where(falls == 1, belongs / (belongs + (1 - belongs) * rate), 0.0)
            rate = self._learn_rate(rows, falls, 1 - shows)
        return self

    def _describe(self, rows: Floats, numbers: "list[_Density]", shows: Floats) -> None:
        """Densities, shares, correlations of those whose fall shows, as likely as each is one, and of the others."""
        groups = (shows, 1 - shows)
        self.share_ = float(shows.mean())
        found = [(np.array([number.of(own) for own in groups]), number.peak) for number in numbers]
        self.ratios_ = [np.log((density[0] + LEAST * peak) / (density[1] + LEAST * peak)) for density, peak in found]
        ranks = [np.cumsum(density + EDGE * peak, axis=1) for density, peak in found]
        self.scores_ = [ndtri(np.clip(rank / rank[:, -1:], EDGE, 1 - EDGE)) for rank in ranks]
        self.shares_ = []
        for column, values in zip(self.coded_, self.values_, strict=True):
            counts = np.array([[own[rows[:, column] == value].sum() + PRIOR for value in values] for own in groups])
            self.shares_.append(np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum()))
        self.copulas_ = []
        for group, own in enumerate(groups):
            scores = self._scores(rows, group)
            together = (scores * own[:, None]).T @ scores
            spread = np.sqrt(np.maximum(np.diag(together), 1e-12))
            drawn = (1 - self.shrink) * together / np.outer(spread, spread)
            np.fill_diagonal(drawn, 1.0)
            self.copulas_.append(drawn)

    def _scores(self, rows: Floats, group: int) -> Floats:
        """Each number as a standard normal, by its rank in the group. Shape: (rows, numbers)."""
        columns = zip(self.smooth_, self.grids_, self.scores_, strict=True)
        found = [np.interp(rows[:, column], grid, scores[group]) for column, grid, scores in columns]
        return np.array(found).T if found else np.zeros((len(rows), 0))

    def _odds(self, rows: Floats) -> Floats:
        """Log-odds of belonging to those whose fall shows. Shape: (rows,)."""
        odds = np.full(len(rows), float(logit(np.clip(self.share_, 1e-6, 1 - 1e-6))))
        for column, grid, ratio in zip(self.smooth_, self.grids_, self.ratios_, strict=True):
            odds += np.interp(rows[:, column], grid, ratio)
        for column, values, ratio in zip(self.coded_, self.values_, self.shares_, strict=True):
            place = np.searchsorted(values, rows[:, column]).clip(max=len(values) - 1)
            odds += np.where(values[place] == rows[:, column], ratio[place], 0.0)  # a word that was never seen says nothing
        for group, sign in ((0, 1), (1, -1)):
            scores, copula = self._scores(rows, group), self.copulas_[group]
            bend = np.linalg.inv(copula) - np.eye(len(copula))
            odds -= sign * 0.5 * (np.linalg.slogdet(copula)[1] + ((scores @ bend) * scores).sum(axis=1))
        return odds

    def _learn_rate(self, rows: Floats, falls: Floats, others: Floats) -> Floats:
        """How often those fall of whom nothing shows, learned from all as likely as each is one of them. Shape: (rows,)."""
        weights = others + 1e-9  # were all falls to show, there is still a rate
        self.weak_ = LogisticRegression(C=WEAK, max_iter=1000).fit(self._plain(rows), falls, sample_weight=weights)
        return self._rate(rows)

    def _rate(self, rows: Floats) -> Floats:
        return np.asarray(self.weak_.predict_proba(self._plain(rows))[:, 1])

    def _plain(self, rows: Floats) -> Floats:
        """Numbers on one scale, none beyond its grid, and a column for each word."""
        words = [rows[:, [column]] == values for column, values in zip(self.coded_, self.values_, strict=True)]
        return np.hstack([(self._within(rows) - self.center_) / self.scale_, *words])

    def _within(self, rows: Floats) -> Floats:
        """The numbers, each at most at an end of its grid: beyond it a line would make anyone certain. Shape: (rows, numbers)."""
        columns = zip(self.smooth_, self.grids_, strict=True)
        found = [rows[:, column].clip(grid[0], grid[-1]) for column, grid in columns]
        return np.array(found).T if found else np.zeros((len(rows), 0))

    def predict_proba(self, rows: Floats) -> npt.NDArray[Any]:
        """Shape: (rows, 2); the second column is the probability of a fall."""
        rows = np.asarray(rows, dtype=float)
        belongs = expit(self._odds(rows))
        falls = belongs + (1 - belongs) * self._rate(rows)
        return np.column_stack([1 - falls, falls])


class _Density:
    """A kernel density of one number for any weights of its rows, by linear binning (Wand 1994): as fast for a million rows."""

    def __init__(self, column: Floats):
        first, last = np.quantile(column, [TAIL, 1 - TAIL])
        around = 2 * _width(column)
        self.grid = np.linspace(first - around, last + around, GRID)
        step = self.grid[1] - self.grid[0]
        self.width = max(_width(column), step)
        place = ((column - self.grid[0]) / step).clip(0, GRID - 1)
        self._low = np.floor(place).astype(int).clip(max=GRID - 2)
        self._up = place - self._low
        self._kernel = np.exp(-0.5 * ((self.grid[:, None] - self.grid) / self.width) ** 2)
        self.peak = self.of(np.ones(len(column))).max()

    def of(self, weights: Floats) -> Floats:
        """The density at each point of the grid, but for a factor that is the same for all weights. Shape: (GRID,)."""
        low, high = np.bincount(self._low, weights * (1 - self._up), GRID), np.bincount(self._low + 1, weights * self._up, GRID)
        found: Floats = self._kernel @ (low + high) / (weights.sum() + 1e-9)
        return found


def _width(column: Floats) -> float:
    """Silverman's rule of thumb for the width of a kernel."""
    quarter, three = np.quantile(column, [0.25, 0.75])
    spread = min(column.std(), (three - quarter) / 1.34) or column.std()
    return float(0.9 * spread * len(column) ** -0.2)
