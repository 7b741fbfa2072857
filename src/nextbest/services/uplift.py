"""Uplift: which learner orders customers best by the effect of an offer, on an experiment's own rows, cross-fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nextbest.arrays import Floats
from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.frame import read_frame
from nextbest.measure import uplift as measure
from nextbest.measure.ranking import Figure, interval
from nextbest.models.uplift import ACROSS, KINDS, Kind, crossfit, table

MOST_WORDS = 200
"""Values of a feature that is a word; trees of scikit-learn take up to 255."""


@dataclass(frozen=True)
class Ordered:
    """One learner's figures for one treatment."""

    treatment: str
    learner: str
    at_share: Figure
    qini: Figure
    auuc: Figure


@dataclass(frozen=True)
class Targeted:
    """A way of choosing a treatment, or none, for each customer, and what it earns beyond leaving all alone.

    `shares`: of customers who get each treatment. `profit`: a customer, in the unit of value and cost.
    """

    policy: str
    shares: dict[str, float]
    profit: Figure


@dataclass(frozen=True)
class _Experiment:
    """The rows of an experiment."""

    features: pd.DataFrame
    arms: npt.NDArray[Any]
    control: str
    outcome: Floats
    frame: pd.DataFrame

    @property
    def treatments(self) -> list[str]:
        return sorted(set(self.arms) - {self.control})


def uplift(
    file: str | Path,
    *,
    treatment: str,
    control: str,
    outcome: str,
    leave_out: tuple[str, ...] = (),
    share: float = 0.3,
    folds: int = ACROSS,
    seed: int = 0,
) -> list[Ordered]:
    """Every learner for every treatment of an experiment: a CSV or Parquet file, one row per customer.

    All columns but `treatment`, `outcome` and those in `leave_out` are features: other outcomes and codes must be left out.
    `response` orders by the outcome of the treated, as a plain response model would. Raises DataError, UsageError.
    """
    rows = _read(Path(file), treatment, control, outcome, leave_out)
    return judged(rows.features, rows.arms, control, rows.outcome, rows.treatments, share, seed, folds)


def targeting(
    file: str | Path,
    *,
    treatment: str,
    control: str,
    outcome: str,
    value: float | str,
    cost: Mapping[str, float | str],
    leave_out: tuple[str, ...] = (),
    folds: int = ACROSS,
    seed: int = 0,
) -> list[Targeted]:
    """What it earns to give each customer the treatment of most expected profit, or none, by learner; beside it each treatment for all.

    `value`: of one unit of the outcome. `cost`: of each treatment. Either is a number or a column, of each customer, which is then no
    feature. Choices are made by models that did not see the customer, and judged on the customers whom chance gave what was
    chosen, weighted by how likely that was (Horvitz and Thompson 1952). Raises DataError, UsageError.
    """
    own = tuple(item for item in (value, *cost.values()) if isinstance(item, str))
    rows = _read(Path(file), treatment, control, outcome, (*leave_out, *own))
    if unknown := sorted(set(rows.treatments) ^ set(cost)):
        raise UsageError([Problem(f"cost of {', '.join(unknown)}", "a cost for each treatment, and for no other", f"{rows.treatments}")])
    worth, costs = _amount(rows.frame, value), {name: _amount(rows.frame, item) for name, item in cost.items()}
    arms = [control, *rows.treatments]
    policies = {f"all: {name}": np.full(len(rows.arms), name, dtype=object) for name in rows.treatments}
    for kind in KINDS:
        if kind != "response":
            net = [worth * _effects(rows, kind, name, folds, seed) - costs[name] for name in rows.treatments]
            policies[kind] = np.array(arms, dtype=object)[np.vstack([np.zeros(len(worth)), *net]).argmax(axis=0)]
    chance = {arm: float((rows.arms == arm).mean()) for arm in arms}
    above = rows.outcome - rows.outcome.mean()  # what all have in common would only be noise in a weighted difference
    earned = worth * above - np.select([rows.arms == name for name in costs], list(costs.values()), 0.0)
    alone = np.where(rows.arms == control, earned / chance[control], 0.0)
    found = []
    for name, chosen in policies.items():
        likely = np.select([chosen == arm for arm in arms], [chance[arm] for arm in arms])
        gained = np.where(rows.arms == chosen, earned / likely, 0.0) - alone
        figure = interval(gained, seed)
        if name in KINDS:  # chosen by what other folds taught
            figure = measure.cross_validated(figure, folds)
        found.append(Targeted(name, {arm: float((chosen == arm).mean()) for arm in rows.treatments}, figure))
    return found


def _read(path: Path, treatment: str, control: str, outcome: str, leave_out: tuple[str, ...]) -> _Experiment:
    frame = read_frame(path, {treatment: str})
    if missing := [name for name in (treatment, outcome, *leave_out) if name not in frame]:
        raise DataError([Problem(path.name, f"lacks the columns {', '.join(missing)}", f"it has {', '.join(map(str, frame.columns))}")])
    frame = frame[frame[treatment].notna()]
    arms = frame[treatment].astype(str)
    problems = []
    if control not in set(arms):
        problems.append(Problem(f"control '{control}'", "no such arm", f"the arms: {', '.join(sorted(arms.unique()))}"))
    elif arms.nunique() == 1:
        problems.append(Problem(path.name, "nobody got anything but the control", "hand in the rows of the treated too"))
    if not pd.api.types.is_numeric_dtype(frame[outcome]) or frame[outcome].isna().any():
        problems.append(Problem(f"column '{outcome}'", "an outcome is a number in every row", "write 1 and 0, or a sum"))
    rest = frame.drop(columns=[treatment, outcome, *leave_out])
    for name in rest.columns:
        if not pd.api.types.is_numeric_dtype(rest[name]) and rest[name].nunique() > MOST_WORDS:
            problems.append(
                Problem(f"column '{name}'", f"more than {MOST_WORDS} values: a code, or nearly one", "--leave-out it, or group it")
            )
    if problems:
        raise UsageError(problems)
    return _Experiment(table(rest), arms.to_numpy(object), control, frame[outcome].to_numpy(np.float64), frame)


def _amount(frame: pd.DataFrame, of: float | str) -> Floats:
    """A number for each row. Raises UsageError for a column that has none in some."""
    if isinstance(of, str):
        values = np.asarray(pd.to_numeric(frame[of], errors="coerce"), dtype=np.float64)
    else:
        values = np.full(len(frame), float(of))
    if not np.isfinite(values).all():
        raise UsageError([Problem(f"'{of}'", "is no number in every row", "name a number, or a column that has one in every row")])
    return values


def _effects(rows: _Experiment, kind: Kind, treatment: str, folds: int, seed: int) -> Floats:
    treated = np.select([rows.arms == treatment, rows.arms == rows.control], [1.0, 0.0], np.nan)
    return crossfit(kind, rows.features, rows.outcome, treated, folds, seed)


def judged(
    features: pd.DataFrame,
    arms: npt.NDArray[Any],
    control: str,
    outcome: Floats,
    treatments: list[str],
    share: float,
    seed: int,
    folds: int = ACROSS,
) -> list[Ordered]:
    """Every learner for every treatment, each customer ordered by models that did not see them."""
    found = []
    for name in treatments:
        rows = np.isin(arms, [name, control])
        treated, y = (arms[rows] == name).astype(np.float64), outcome[rows]
        for kind in KINDS:
            score = crossfit(kind, features[rows], y, treated, folds, seed)
            figures = (measure.interval(of, y, treated, score, seed) for of in (measure.uplift_at(share), measure.qini, measure.auuc))
            found.append(Ordered(name, kind, *(measure.cross_validated(figure, folds) for figure in figures)))
    return found
