"""Uplift: which learner orders customers best by the effect of an offer, on an experiment's own rows, cross-fit."""

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
from nextbest.measure.ranking import Figure
from nextbest.models.uplift import ACROSS, KINDS, crossfit, table

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
    path = Path(file)
    frame = read_frame(path)
    if missing := [name for name in (treatment, outcome, *leave_out) if name not in frame]:
        raise DataError([Problem(path.name, f"lacks the columns {', '.join(missing)}", f"it has {', '.join(map(str, frame.columns))}")])
    frame = frame[frame[treatment].notna()]
    arms = frame[treatment].astype(str)
    problems = []
    if control not in set(arms):
        problems.append(Problem(f"control '{control}'", "no such arm", f"the arms: {', '.join(sorted(arms.unique()))}"))
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
    y = frame[outcome].to_numpy(np.float64)
    return judged(table(rest), arms.to_numpy(object), control, y, sorted(set(arms) - {control}), share, seed, folds)


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
            figures = (measure.uplift_at(share), measure.qini, measure.auuc)
            found.append(Ordered(name, kind, *(measure.interval(figure, y, treated, score, seed) for figure in figures)))
    return found
