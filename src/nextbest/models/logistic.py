"""Logistic regression on customer × product features, each group of terms held back as far as the data say.

Every group (a feature's line, its curve, each of them by product) has a normal prior of its own width. The widths are
learned from the same answers by maximising the evidence (MacKay 1992, "The evidence framework applied to classification
networks"; Laplace's approximation), so that no strength of regularisation is set by hand or searched for: a group that
says nothing loses its width and is dropped. Curves are tried where a line says something. What a customer answered
before to the same product is a random effect of the pair.
"""

import numpy as np
from scipy.special import expit

from nextbest.arrays import Floats
from nextbest.models.base import Pairs, State, log_odds
from nextbest.models.collaborative import Model as Collaborative
from nextbest.models.terms import Number, Terms, feature_of

ROWS = 20_000
"""Whose columns are in memory at a time while errors are computed."""
SWEEPS, NARROW, SETTLED = 40, 1e-4, 1e-3
"""Sweeps at most; a group whose prior variance falls below NARROW says nothing; widths that move by less have settled."""
WIDTHS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
"""Standard deviations tried for the effect of a pair, in log-odds."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


class Model:
    """Evidence-weighted logistic regression."""

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn the widths and the weights together."""
        self.similar = Collaborative()
        counted, taken, asked = _counted(pairs.adding(similar=self.similar.cross_fitted(pairs, seed)))
        self.terms = Terms.learned(counted)
        self.base = float(log_odds(np.array([(taken.sum() + 1) / (asked.sum() + 2)]))[0])
        self.weights: dict[str, Floats] = {}
        self._learn(counted, taken, asked, self.terms.lines())
        bending = sorted({feature_of(group) for group in self.weights} & self.terms.numbers.keys())
        width = self._learn(counted, taken, asked, [*self.weights, *self.terms.curves(bending)])
        self.spread = self._spread(counted, asked, width)
        self.pair_width = _pair_width(counted, self._fixed(counted), taken, asked)

    def _learn(self, pairs: Pairs, taken: Floats, asked: Floats, groups: list[str]) -> dict[str, float]:
        """Sets the base and the weights; returns the prior variance of each group that is left."""
        columns = {group: self.terms.columns(pairs, group) for group in groups}
        width = {group: 0.1 for group in groups}
        weights = {group: self.weights.get(group, np.zeros(columns[group].shape[1])) for group in groups}
        for sweep in range(SWEEPS):
            table = np.column_stack([np.ones(len(pairs)), *(columns[group] for group in width)])
            ridge = np.concatenate([[1e-8], *(np.full(columns[group].shape[1], 1 / width[group]) for group in width)])
            found = np.concatenate([[self.base], *(weights[group] for group in width)])
            for _ in range(4 if sweep == 0 else 1):
                probability = expit(table @ found)
                curvature = table.T @ (table * (asked * probability * (1 - probability))[:, None]) + np.diag(ridge)
                step = np.linalg.solve(curvature, table.T @ (taken - asked * probability) - ridge * found)
                found = _better(table, taken, asked, ridge, found, step)
            known = 1 - ridge * np.diag(np.linalg.inv(curvature))  # how far each weight is known from the data, 0 to 1
            self.base, at, moved, kept = float(found[0]), 1, 0.0, {}
            for group in width:
                part = slice(at, at + columns[group].shape[1])
                at, weights[group] = part.stop, found[part]
                new = float((found[part] ** 2).sum() / max(known[part].sum(), 1e-9))
                moved = max(moved, abs(new - width[group]) / (width[group] + NARROW))
                if new > NARROW and known[part].sum() > SETTLED:
                    kept[group] = new
            dropped = kept.keys() != width.keys()
            width = kept
            if not dropped and moved < SETTLED:
                break
        self.weights = {group: weights[group] for group in width}
        return width

    def _spread(self, pairs: Pairs, asked: Floats, width: dict[str, float]) -> Floats:
        """The covariance of the base and the weights (Laplace's approximation). Shape: (columns, columns)."""
        table = self._table(pairs)
        ridge = np.concatenate([[1e-8], *(np.full(len(self.weights[group]), 1 / width[group]) for group in width)])
        probability = expit(self._fixed(pairs))
        curvature = table.T @ (table * (asked * probability * (1 - probability))[:, None]) + np.diag(ridge)
        return np.asarray(np.linalg.inv(curvature))

    def _table(self, pairs: Pairs) -> Floats:
        """The columns that base and weights stand for."""
        return np.column_stack([np.ones(len(pairs)), *(self.terms.columns(pairs, group) for group in self.weights)])

    def _with_similar(self, pairs: Pairs) -> Pairs:
        return pairs.adding(similar=self.similar.similar(pairs))

    def _fixed(self, pairs: Pairs) -> Floats:
        return np.asarray(self.base + sum(self.terms.sums(pairs, self.weights).values(), np.zeros(len(pairs))))

    def propensity(self, pairs: Pairs) -> Floats:
        """The probability, what was answered before taken into account."""
        return self._probability(self._with_similar(pairs))

    def _probability(self, pairs: Pairs) -> Floats:
        return np.asarray(expit(sum(self._parts(pairs).values(), np.zeros(len(pairs)))))

    def contributions(self, pairs: Pairs) -> dict[str, Floats]:
        """Each feature's terms added up; `base` is the average and the product's own."""
        return self._parts(self._with_similar(pairs))

    def _parts(self, pairs: Pairs) -> dict[str, Floats]:
        found = {"base": np.full(len(pairs), self.base)}
        for group, part in self.terms.sums(pairs, self.weights).items():
            feature = "base" if group == "product" else feature_of(group)
            found[feature] = found.get(feature, 0.0) + part
        fixed = np.asarray(sum(found.values(), np.zeros(len(pairs))))
        found["history"] = _pair_effect(fixed, pairs.column("taken_before"), pairs.column("asked_before"), self.pair_width)
        return found

    def error(self, pairs: Pairs) -> Floats:
        """The standard error of the probability, by the delta method: of the weights, and of what is the pair's own."""
        found = np.empty(len(pairs))
        for start in range(0, len(pairs), ROWS):
            part = self._with_similar(pairs.where((np.arange(len(pairs)) // ROWS) == start // ROWS))
            probability, table = self._probability(part), self._table(part)
            slope = probability * (1 - probability)
            own = 1 / (part.column("asked_before") * slope + 1 / self.pair_width**2) if self.pair_width else 0.0
            found[start : start + ROWS] = slope * np.sqrt(((table @ self.spread) * table).sum(axis=1) + own)
        return found

    def state(self) -> State:
        """Terms and weights."""
        numbers = {name: [item.mean, item.sd, list(item.bends), item.gaps] for name, item in self.terms.numbers.items()}
        return {
            "base": self.base,
            "pair_width": self.pair_width,
            "products": self.terms.products,
            "numbers": numbers,
            "words": self.terms.words,
            "weights": {group: weights.tolist() for group, weights in self.weights.items()},
            "spread": self.spread.tolist(),
            "similar": self.similar.state(),
        }

    def restore(self, state: State) -> None:
        """Take them up."""
        numbers = {name: Number(mean, sd, tuple(bends), gaps) for name, (mean, sd, bends, gaps) in state["numbers"].items()}
        self.terms = Terms(state["products"], numbers, state["words"])
        self.base, self.pair_width = state["base"], state["pair_width"]
        self.weights = {group: np.array(weights) for group, weights in state["weights"].items()}
        self.spread = np.array(state["spread"])
        self.similar = Collaborative()
        self.similar.restore(state["similar"])


def _better(table: Floats, taken: Floats, asked: Floats, ridge: Floats, found: Floats, step: Floats) -> Floats:
    """Newton's step, halved until it makes the answers likelier: where a word settles the answer a whole one would run away."""

    def loss(weights: Floats) -> float:
        odds = table @ weights
        return float((asked * np.logaddexp(0, odds) - taken * odds).sum() + (ridge * weights**2).sum() / 2)

    before = loss(found)
    for _ in range(12):
        if loss(found + step) <= before:
            return np.asarray(found + step)
        step = step / 2
    return found


def _counted(pairs: Pairs) -> tuple[Pairs, Floats, Floats]:
    """One row per pair and what was known of it: how often it was taken, of how often it was asked. The same likelihood in fewer rows."""
    ordered = pairs.frame.sort_values(["customer", "product", "round"], kind="stable")
    by = [ordered[name] for name in ("customer", "product", *pairs.numbers, *pairs.words)]
    grouped = ordered.groupby(by, sort=False, dropna=False).taken
    first = ordered[~ordered.duplicated([item.name for item in by])]
    once = Pairs(first.reset_index(drop=True), pairs.numbers, pairs.words)
    return once, grouped.sum().to_numpy(np.float64), grouped.size().to_numpy(np.float64)


def _pair_effect(fixed: Floats, taken: Floats, asked: Floats, width: float) -> Floats:
    """The likeliest effect of each pair given its answers and a normal prior of this width. Shape: that of `fixed`."""
    effect = np.zeros(len(fixed))
    if width == 0:
        return effect
    for _ in range(8):
        probability = expit(fixed + effect)
        slope = taken - asked * probability - effect / width**2
        effect = effect + slope / (asked * probability * (1 - probability) + 1 / width**2)
    return effect


def _pair_width(pairs: Pairs, fixed: Floats, taken: Floats, asked: Floats) -> float:
    """The width that makes the answers likeliest, the pairs' effects integrated out (Gauss and Hermite)."""
    who = pairs.frame.groupby(["customer", "product"], sort=False).ngroup().to_numpy()

    def likelihood(width: float) -> float:
        probability = np.clip(expit(fixed[:, None] + width * NODES[None, :]), 1e-12, 1 - 1e-12)
        each = taken[:, None] * np.log(probability) + (asked - taken)[:, None] * np.log1p(-probability)
        of_pair = np.column_stack([np.bincount(who, each[:, node]) for node in range(len(NODES))])
        return float(np.log((np.exp(of_pair) * WEIGHTS[None, :]).sum(axis=1) / WEIGHTS.sum()).sum())

    return max(WIDTHS, key=likelihood)
