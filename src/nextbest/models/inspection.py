"""Looking into a model of activity: what it leans on, how the forecast runs over a feature, and whether more customers would help."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from nextbest.arrays import Floats
from nextbest.models.activity import Model, Table, fit, folds, odds_of

FEW = 10
"""A word that fewer customers have is not drawn: it may be one customer's own."""
SHUFFLES, STEPS, SIZES, CUTS = 5, 15, (0.25, 0.5, 0.75, 1.0), 3


@dataclass(frozen=True)
class Inspection:
    """What there is to see, a table each; features stand in order of their weight.

    `importance`: feature, mean, sd (ROC AUC lost without it, over folds). `shapley`: feature, part (of the log-odds), at (place of
    the customer's value among all, 0 to 1; unknown for words). `dependence`: feature, at, mean, low, high (probability). `curve`:
    customers, learned, learned_sd, judged, judged_sd (ROC AUC). `association`: φk, feature × feature, the label first; None
    without `nextbest[learn]`.
    """

    importance: pd.DataFrame
    shapley: pd.DataFrame
    dependence: pd.DataFrame
    curve: pd.DataFrame
    association: pd.DataFrame | None


def inspect(model: Model, table: Table, lost: pd.DataFrame, seed: int) -> Inspection:
    """`lost`: fold × feature, of `permutation_importance` on customers that each fold's model did not see."""
    importance = pd.DataFrame({"mean": lost.mean(), "sd": lost.std()}).sort_values("mean", ascending=False, kind="stable")
    named = importance.rename_axis("feature").reset_index()
    features = list(named.feature)
    return Inspection(
        named,
        _shapley(model, features, table.numbers, seed),
        pd.concat([dependence(model, table, name) for name in features], ignore_index=True),
        learning_curve(table, model, seed),
        association(table, features),
    )


def permutation_importance(model: Model, features: pd.DataFrame, falls: Floats, seed: int) -> dict[str, float]:
    """ROC AUC lost where a feature's values are given to other customers by chance (Breiman 2001), by feature."""
    chance, whole = np.random.default_rng(seed), roc_auc_score(falls, model.probability(features))
    shuffled = [
        features.assign(**{name: features[name].to_numpy()[chance.permutation(len(features))]})
        for name in features.columns
        for _ in range(SHUFFLES)
    ]
    probability = model.probability(pd.concat(shuffled, ignore_index=True)).reshape(len(features.columns), SHUFFLES, len(features))
    return {
        name: float(whole - np.mean([roc_auc_score(falls, one) for one in own]))
        for name, own in zip(features.columns, probability, strict=True)
    }


def learning_curve(table: Table, model: Model, seed: int) -> pd.DataFrame:
    """ROC AUC on customers learned from and on others, for growing parts of the customers. Grain: one size."""
    rows = []
    for learned, judged in folds(table, CUTS, seed):
        order = np.random.default_rng(seed).permutation(learned)
        for share in SIZES:
            some = np.sort(order[: round(share * len(order))])
            parts = fit(model.family, model.settings, table.rows(some), seed)
            own, others = (roc_auc_score(table.falls[of], odds_of(parts, table.features.iloc[of])) for of in (some, judged))
            rows.append((share, len(some), own, others))
    by_size = pd.DataFrame(rows, columns=["share", "customers", "learned", "judged"]).groupby("share")
    mean, sd = by_size.mean(), by_size.std()
    return pd.DataFrame(
        {
            "customers": mean.customers.round().astype(int),
            **{f"{name}{end}": frame[name] for name in ("learned", "judged") for end, frame in (("", mean), ("_sd", sd))},
        }
    ).reset_index(drop=True)


def _shapley(model: Model, features: list[str], numbers: tuple[str, ...], seed: int) -> pd.DataFrame:
    parts = model.reasons(model.background, seed)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "feature": name,
                    "part": parts[name],
                    "at": model.background[name].rank(pct=True) if name in numbers else np.nan,
                }
            )
            for name in sorted(features, key=lambda name: -parts[name].abs().mean())
        ],
        ignore_index=True,
    )


def dependence(model: Model, table: Table, name: str) -> pd.DataFrame:
    """Mean forecast, and that of the tenth and ninetieth in a hundred customers, were the feature this for all (Friedman 2001)."""
    own = model.background[name]
    if name in table.numbers:
        values = list(np.unique(own.dropna().quantile(np.linspace(0.02, 0.98, STEPS)).dropna()))
    else:
        common = table.features[name].value_counts()
        values = sorted(common[common >= FEW].index, key=lambda word: (-common[word], word))
    if not values:
        return pd.DataFrame(columns=["feature", "at", "mean", "low", "high"])
    rows = pd.concat([model.background.assign(**{name: value}) for value in values], ignore_index=True)
    found = model.fresh(rows).reshape(len(values), len(own))
    low, high = np.quantile(found, [0.1, 0.9], axis=1)
    return pd.DataFrame({"feature": name, "at": pd.Series(values, dtype=object), "mean": found.mean(axis=1), "low": low, "high": high})


def association(table: Table, features: list[str]) -> pd.DataFrame | None:
    """φk (Baak et al. 2020): like a correlation, of words and of bent relations too, 0 to 1.

    Numbers in ten bins of like size: one rich customer must not put all others into one.
    """
    try:
        import_module("phik")  # adds phik_matrix to frames
    except ImportError:
        return None
    known = table.features[features].assign(**{LABEL: table.falls.astype(int)})
    varied = [name for name in [LABEL, *features] if known[name].nunique() > 1]
    found = known[varied].phik_matrix(interval_cols=[name for name in varied if name in table.numbers], quantile=True, verbose=False)
    return found.loc[varied, varied]


LABEL = "the fall"
