"""Why a pair got its score: contributions of features added up by reason, and said in words."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nextbest.arrays import Floats
from nextbest.models.base import Pairs
from nextbest.playbook.bind_learning import BoundReason

MOST, LEAST = 3, 0.02
"""Reasons said of a pair at most, and the log-odds below which one is not worth a word."""


def reasons(pairs: Pairs, contributions: Mapping[str, Floats], declared: Mapping[str, BoundReason], language: str) -> pd.DataFrame:
    """One row per pair: `speaks_for` and `against` in words, and each reason's exact part of the log-odds.

    Columns: base, one per reason, `other` (features that no reason names), speaks_for, against. The numbers add up to the
    log-odds of the score. `pairs` has the columns `reason.<name>`: the place of the wording that is true.
    """
    rest = {name: values for name, values in contributions.items() if name != "base"}
    sums = {name: _sum(len(pairs), [rest.pop(feature) for feature in item.of if feature in rest]) for name, item in declared.items()}
    table = pd.DataFrame({"base": contributions["base"], **sums, "other": _sum(len(pairs), list(rest.values()))})
    parts = np.column_stack([sums[name] for name in declared]) if declared else np.zeros((len(pairs), 0))
    order = np.argsort(-np.abs(parts), axis=1, kind="stable")
    said: dict[str, list[pd.Series[str]]] = {"speaks_for": [], "against": []}
    names = list(declared)
    wordings = [_wordings(pairs, name, declared[name], language) for name in names]
    for place in range(min(MOST, len(names))):
        which = order[:, place]
        part = np.take_along_axis(parts, which[:, None], axis=1)[:, 0]
        good = np.select([which == number for number in range(len(names))], [words[0] for words in wordings], default="")
        bad = np.select([which == number for number in range(len(names))], [words[1] for words in wordings], default="")
        said["speaks_for"].append(pd.Series(np.where(part >= LEAST, good, "")))
        said["against"].append(pd.Series(np.where(part <= -LEAST, bad, "")))
    for column, items in said.items():
        joined = pd.Series("", index=table.index)
        for item in items:
            joined = joined + item.where(item == "", "; " + item)
        table[column] = joined.str.removeprefix("; ")
    return table


def _sum(rows: int, parts: list[Floats]) -> Floats:
    return np.asarray(sum(parts, np.zeros(rows)))


def _wordings(pairs: Pairs, name: str, reason: BoundReason, language: str) -> tuple["np.typing.NDArray[np.object_]", str]:
    texts = np.array([text.get(language, next(iter(text.values()))) for _, text in reason.speaks_for] + [""], dtype=object)
    place = pairs.frame[f"reason.{name}"].fillna(len(texts) - 1).to_numpy(int)
    return texts[place], reason.against.get(language, next(iter(reason.against.values())))
