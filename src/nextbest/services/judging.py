"""Judging a model of activity: on customers whom it did not see, the search for its family among what is judged."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from nextbest.arrays import Floats
from nextbest.measure.ranking import calibration, calibration_error
from nextbest.models.activity import Model, Table, folds
from nextbest.models.inspection import permutation_importance
from nextbest.services.progress import Progress

OUTER = 5
"""Outer folds. A hold-out split keeps one of as many back."""


@dataclass(frozen=True)
class Judged:
    """Figures of every outer fold and of every hold-out split, and each row's mean forecast by models that did not see it.

    `lost`: fold × feature, of the first repeat: the ROC AUC lost without the feature.
    """

    folds: pd.DataFrame
    hold_outs: pd.DataFrame
    forecast: Floats
    falls: Floats
    lost: pd.DataFrame

    def figures(self) -> dict[str, Any]:
        """For the card: mean and standard deviation over folds, over hold-outs, and the calibration of all forecasts."""
        found: dict[str, Any] = _spread(self.folds)
        if len(self.hold_outs):
            found["hold_outs"] = {"splits": len(self.hold_outs), **_spread(self.hold_outs)}
        found["calibration_error"] = calibration_error(self.falls, self.forecast)
        found["calibration"] = calibration(self.falls, self.forecast).to_dict("records")
        found["families"] = self.folds.family.value_counts().to_dict()
        return found


def judge(table: Table, threshold: float, repeats: int, hold_outs: int, seed: int, progress: Progress) -> Judged:
    """Nested cross-validation, `repeats` times over, then so many hold-out splits. F1 is that from `threshold` on."""
    outer, splits, lost, forecast = [], [], [], np.zeros(len(table.frame))
    for repeat in range(repeats):
        for place, (learned, judged) in enumerate(folds(table, OUTER, seed + 1000 * (repeat + 1))):
            progress(f"judging {repeat + 1}/{repeats}", place + 1, OUTER)
            model = Model.fitted(table.rows(learned), seed)
            probability = model.probability(table.features.iloc[judged])
            forecast[judged] += probability / repeats
            if repeat == 0:
                lost.append(permutation_importance(model, table.features.iloc[judged], table.falls[judged], seed))
            outer.append({"repeat": repeat, "family": model.family, **measured(table.falls[judged], probability, threshold)})
    for place in range(hold_outs):
        progress("judging hold-outs", place + 1, hold_outs)
        learned, judged = next(folds(table, OUTER, seed + place))
        probability = Model.fitted(table.rows(learned), seed).probability(table.features.iloc[judged])
        splits.append(measured(table.falls[judged], probability, threshold))
    return Judged(pd.DataFrame(outer), pd.DataFrame(splits), forecast, table.falls, pd.DataFrame(lost))


def measured(falls: Floats, probability: Floats, threshold: float) -> dict[str, float]:
    """The figures of one split. F1 is of those who fall, from the threshold on."""
    return {
        "roc_auc": float(roc_auc_score(falls, probability)),
        "pr_auc": float(average_precision_score(falls, probability)),
        "f1": float(f1_score(falls, probability >= threshold)),
        "brier": float(brier_score_loss(falls, probability)),
    }


def _spread(splits: pd.DataFrame) -> dict[str, dict[str, float]]:
    names = ("roc_auc", "pr_auc", "f1", "brier")
    return {name: {"mean": float(splits[name].mean()), "sd": float(splits[name].std())} for name in names}
