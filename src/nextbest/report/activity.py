"""A model of activity's own page: how good it is, what it leans on, how it runs over each feature, whether more customers would help."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextbest.models.inspection import CUTS, LABEL, Inspection
from nextbest.report.html import environment

SHOWN = 12
"""Features drawn; the weights of all stand in card.json."""
LEFT, RIGHT, FOOT, TOP = 30.0, 230.0, 210.0, 10.0
ROW, NARROW, WORDS = 26, 6.0, 7
"""Height of a row, the width within which points are heaped, and the words of a feature that are drawn."""


@dataclass(frozen=True)
class Line:
    """A line and the band around it, as SVG points."""

    run: str
    band: str


@dataclass(frozen=True)
class Plot:
    """Lines over one feature, or a row for each of its words; and what stands at the ends of the axes."""

    name: str
    lines: list[Line] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    left: str = ""
    right: str = ""
    low: str = "0"
    high: str = "1"


def write_page(title: str, card: dict[str, Any], seen: Inspection, called: Callable[[str], str], path: Path) -> None:
    """One self-contained page. `called`: what people call a feature."""
    page = (
        environment()
        .get_template("activity.html.j2")
        .render(
            title=title,
            card=card,
            figures=card["figures"],
            rows=FIGURES,
            called=lambda name: name if name == LABEL else called(name),
            features=len(seen.importance),
            importance=seen.importance.head(SHOWN).to_dict("records"),
            most=max(float(seen.importance["mean"].max()), 1e-9),
            swarm=_swarm(seen.shapley, called),
            dependence=[_dependence(own, called(name)) for name, own in _varied(seen).items()],
            curve=_curve(seen.curve),
            cuts=CUTS,
            association=_association(seen.association),
        )
    )
    path.write_text(page, encoding="utf-8")


FIGURES = (("roc_auc", "ROC AUC"), ("pr_auc", "PR AUC"), ("f1", "F1"), ("brier", "Brier score"))


def _swarm(shapley: pd.DataFrame, called: Callable[[str], str]) -> dict[str, Any]:
    """Points of the first features: across, what is added to the log-odds; heaped where many stand together."""
    names = list(dict.fromkeys(shapley.feature))[:SHOWN]
    shown = shapley[shapley.feature.isin(names)]
    most = float(shown.part.abs().max()) or 1.0
    points = []
    for row, name in enumerate(names):
        own = shown[shown.feature == name].sort_values("part", kind="stable")
        x = 400 + 190 * own.part / most
        heap = x.groupby((x / NARROW).round()).cumcount()
        offset = (heap + 1) // 2 * np.where(heap % 2, 1, -1)  # 0, 1, -1, 2, -2 …
        y = ROW * (row + 0.5) + np.clip(offset * 1.6, 1 - ROW / 2, ROW / 2 - 1)
        points += [
            {"x": f"{across:.1f}", "y": f"{up:.1f}", "share": None if np.isnan(at) else f"{100 * at:.0f}"}
            for across, up, at in zip(x, y, own["at"], strict=True)
        ]
    return {
        "points": points,
        "names": [(called(name), ROW * (row + 0.5) + 4) for row, name in enumerate(names)],
        "height": ROW * len(names),
        "most": f"{most:.1f}",
        "customers": int((shapley.feature == names[0]).sum()),
    }


def _varied(seen: Inspection) -> dict[str, pd.DataFrame]:
    """What there is to draw of the first features: one that is the same, or unknown, for everybody has nothing to run over."""
    own = {name: seen.dependence[seen.dependence.feature == name] for name in seen.importance.feature.head(SHOWN)}
    return {name: table for name, table in own.items() if len(table) > 1}


def _dependence(own: pd.DataFrame, label: str) -> Plot:
    if all(isinstance(value, str) for value in own["at"]):
        return Plot(label, rows=[_word(row, TOP + ROW * (place + 0.8)) for place, row in enumerate(own.head(WORDS).itertuples())])
    at = own["at"].astype(float)
    return Plot(label, [_line(at, own["mean"], own.low, own.high)], left=f"{at.min():.4g}", right=f"{at.max():.4g}")


def _word(row: Any, y: float) -> dict[str, Any]:
    places = {name: f"{LEFT + (RIGHT - LEFT) * getattr(row, name):.1f}" for name in ("low", "mean", "high")}
    return {
        "word": {"": "unknown", "?": "another"}.get(row.at, row.at),
        "y": y,
        "title": f"{row.mean:.2f} ({row.low:.2f} to {row.high:.2f})",
        **places,
    }


def _curve(table: pd.DataFrame) -> Plot:
    """ROC AUC by how many customers were learned from: judged on others, and on the same."""
    low = min(float(np.floor(10 * (table.judged - table.judged_sd).min()) / 10), 0.9)
    lines = [
        _line(table.customers, table[name], table[name] - table[f"{name}_sd"], table[name] + table[f"{name}_sd"], low)
        for name in ("judged", "learned")
    ]
    first, last = table.customers.iloc[[0, -1]]
    return Plot("ROC AUC by customers learned from", lines, left=str(first), right=str(last), low=f"{low:g}")


def _line(at: Sequence[float], mean: Sequence[float], low: Sequence[float], high: Sequence[float], floor: float = 0.0) -> Line:
    x = np.asarray(at, dtype=float)
    across = LEFT + (RIGHT - LEFT) * ((x - x.min()) / (np.ptp(x) or 1.0))
    edge = [*zip(across, high, strict=True), *reversed(list(zip(across, low, strict=True)))]
    return Line(
        *(" ".join(f"{place:.1f},{_up(value, floor)}" for place, value in points) for points in (zip(across, mean, strict=True), edge))
    )


def _up(value: float, floor: float = 0.0) -> str:
    return f"{FOOT - (FOOT - TOP) * (min(max(value, floor), 1.0) - floor) / (1.0 - floor):.1f}"


def _association(table: pd.DataFrame | None) -> list[tuple[str, list[float | None]]] | None:
    """None in a cell: the two are never known together."""
    if table is None:
        return None
    few = table.iloc[: SHOWN + 1, : SHOWN + 1]
    return [
        (str(name), [None if np.isnan(value) else float(value) for value in row])
        for name, row in zip(few.index, few.to_numpy(), strict=True)
    ]
