"""The gate: whether a new model may take over from the one in charge, on answers that neither saw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from nextbest.arrays import Floats
from nextbest.measure.ranking import Figure, by_customer, excess_calibration_error, interval


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what came out, the limit, and whether it holds."""

    what: str
    figure: Figure | float
    limit: str
    passes: bool


@dataclass(frozen=True)
class Verdict:
    """All checks. A model passes where every one holds."""

    challenger: str
    champion: str
    customers: int
    checks: tuple[Check, ...]

    @property
    def passes(self) -> bool:
        """Whether the new model may take over."""
        return all(check.passes for check in self.checks)


def gate(
    names: tuple[str, str],
    customer: npt.ArrayLike,
    taken: Floats,
    challenger: Floats,
    champion: Floats,
    segments: Mapping[str, "pd.Series[str]"],
    limits: Mapping[str, float],
    k: int,
    seed: int,
) -> Verdict:
    """Compare two models' probabilities on the same pairs: ranking, calibration, and both in every large segment.

    `segments`: name of a division → the segment of each row. `limits`: those of learn.yaml, `gate`.
    """
    people = np.asarray(customer)
    gain = by_customer(people, challenger, taken, k).ndcg - by_customer(people, champion, taken, k).ndcg
    overall = interval(gain.to_numpy(), seed)
    worst, off = limits["worse_at_most"], limits["miscalibrated_at_most"]
    error = excess_calibration_error(taken, challenger, seed)
    checks = [
        Check(f"NDCG@{k}: gain over {names[1]}", overall, f"interval from {-worst} up", overall.low >= -worst),
        Check("calibration error beyond chance", error, f"at most {off}", bool(error <= off)),
    ]
    for division, values in segments.items():
        for segment in sorted(values.dropna().unique()):
            rows = (values == segment).to_numpy()
            inside = gain[gain.index.isin(people[rows])]
            if len(inside) < limits["smallest_segment"]:
                continue
            mean = float(inside.mean())
            allowed = limits["worse_in_segment"]
            checks.append(Check(f"{division} {segment}: gain in NDCG@{k}", mean, f"at least {-allowed}", bool(mean >= -allowed)))
            bias = float(challenger[rows].mean() - taken[rows].mean())
            chance = 1.96 * float(np.sqrt((challenger[rows] * (1 - challenger[rows])).sum())) / rows.sum()
            limit = off + chance
            checks.append(Check(f"{division} {segment}: forecast less answers", bias, f"within ±{limit:.3f}", bool(abs(bias) <= limit)))
    return Verdict(names[0], names[1], len(gain), tuple(checks))


def thirds(values: "pd.Series[float]", customer: npt.ArrayLike) -> "pd.Series[str]":
    """Numbers in three segments of like many customers, named by their bounds; words and few values as they are."""
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() <= 5:
        return values.astype(object).map(lambda value: None if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value))
    low, high = values[~pd.Series(customer).duplicated().to_numpy()].quantile([1 / 3, 2 / 3])
    named = np.select([values <= low, values <= high, values > high], [f"to {low:g}", f"to {high:g}", f"above {high:g}"], default="")
    return pd.Series(named, index=values.index).replace("", None)
