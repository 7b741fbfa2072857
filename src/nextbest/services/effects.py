"""Effects: train a model of what each treatment of an experiment changes, for `decide` to leave alone whom it changes nothing for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import skops.io

from nextbest.errors import DataError, Problem, UsageError
from nextbest.models.activity import Table
from nextbest.models.uplift import Model, Part
from nextbest.plan.features import rows_of
from nextbest.playbook.bind import bound
from nextbest.playbook.bind_learning import BoundUpliftLearning, bound_uplift_learning
from nextbest.playbook.load import load
from nextbest.services.folder import written_whole
from nextbest.services.model_files import CARD, PIPELINES, SEEN, STATE, TRUSTED, Card, card_of, write_json
from nextbest.services.moment import a_day, day_of
from nextbest.services.progress import Progress, silent
from nextbest.services.reading import Reading
from nextbest.services.summing import read_customers
from nextbest.services.uplift import Ordered, judged

LEAST = 200
"""Customers of an arm below which nothing can be said of its effect on one of them."""
SHARE = 0.3
"""Of the customers who would be treated first, in the figures."""
CAUTIONS = [
    "An effect holds for customers as those of the experiment, and for the offer as it was then.",
    "Of one customer it says little, of many who are alike more: effects are small beside what happens anyway.",
    "The folder holds what was said of customers of the experiment, by their features: treat it as personal data.",
]


@dataclass(frozen=True)
class Trained:
    """A model of effects, its card, and the figures of every learner."""

    folder: Path
    card: Card
    judged: list[Ordered]


def train_effects(
    data: str | Path,
    playbook: str | Path = "shop",
    *,
    out: str | Path,
    as_of: date | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Trained:
    """Train on the customers of an experiment whose arm and outcome are known, and write a model's folder.

    The learner is the playbook's; the figures of all, cross-fit, stand in the card beside those of a plain response model.
    Raises PlaybookError, DataError, UsageError.
    """
    with _read(data, playbook, as_of, progress) as (learning, reading):
        model = learning.model
        frame = reading.engine.batches(rows_of(learning.book, model.treatment, model.outcome, *model.uses), 100_000).read_all().to_pandas()
        arm, outcome, frame = _experiment(learning, frame, reading)
        features, treatments = Table(frame, learning.numbers, learning.words).features, list(model.fills)
        progress("judging the learners", 1, 2)
        figures = judged(features, arm, model.control, outcome, treatments, SHARE, seed)
        progress("learning from all", 2, 2)
        fitted = Model.fitted(model.learner, features, arm, model.control, outcome, treatments, seed)
    card = card_of(
        learning.book,
        "uplift",
        model.learner,
        seed=seed,
        numbers=list(learning.numbers),
        words=list(learning.words),
        products=treatments,
        rows=len(frame),
        taken=int((outcome > 0).sum()),
        figures={
            "learners": [asdict(item) for item in figures],
            "customers": {str(name): int((arm == name).sum()) for name in np.unique(arm)},
        },
        cautions=CAUTIONS,
    )
    with written_whole(Path(out), mark=CARD) as scratch:
        skops.io.dump([part.pipeline for parts in fitted.parts.values() for part in parts], scratch / PIPELINES)
        fitted.seen.rename_axis("row").reset_index().to_parquet(scratch / SEEN, index=False)
        written = {name: [{"weight": part.weight, "as_if": part.as_if} for part in parts] for name, parts in fitted.parts.items()}
        write_json(scratch, {STATE: written, CARD: asdict(card)})
    return Trained(Path(out), card, figures)


def read_effects(folder: Path) -> Model:
    """The fitted model. Raises UsageError."""
    try:
        written = json.loads((folder / STATE).read_text(encoding="utf-8"))
        pipelines = iter(skops.io.load(folder / PIPELINES, trusted=TRUSTED))
        parts = {name: [Part(item["weight"], next(pipelines), item["as_if"]) for item in items] for name, items in written.items()}
        return Model(parts, pd.read_parquet(folder / SEEN).set_index("row"))
    except (OSError, ValueError, KeyError, TypeError, StopIteration, BadZipFile, skops.io.exceptions.UntrustedTypesFoundException):
        raise UsageError([Problem(str(folder), "the model cannot be read", "train it again")]) from None


@contextmanager
def _read(
    data: str | Path, playbook: str | Path, as_of: date | str | None, progress: Progress
) -> Iterator[tuple[BoundUpliftLearning, Reading]]:
    loaded = load(playbook)
    learning = bound_uplift_learning(bound(loaded, day_of(as_of) if as_of is not None else a_day(loaded)))
    if learning is None:
        what = "has no learn.yaml with `uplift`: it does not say what was tried"
        raise UsageError([Problem(f"playbook '{loaded.model.business.name}'", what, "take the playbook `shop` for an example")])
    with read_customers(data, learning.book, progress) as reading:
        yield learning, reading


def _experiment(learning: BoundUpliftLearning, frame: pd.DataFrame, reading: Reading) -> tuple[Any, Any, pd.DataFrame]:
    """What each customer of the experiment got, and what came of it. Raises DataError where arms are too small."""
    model = learning.model
    arms = [model.control, *model.fills]
    frame = frame[frame[model.treatment].isin(arms) & frame[model.outcome].notna()].reset_index(drop=True)
    arm, outcome = frame[model.treatment].to_numpy(object), frame[model.outcome].to_numpy(np.float64)
    problems = []
    for name in arms:
        own = outcome[arm == name]
        if len(own) < LEAST:
            problems.append(Problem(model.treatment, f"{len(own)} customers with an outcome got '{name}'", f"{LEAST} or more are needed"))
        elif np.ptp(own) == 0:
            problems.append(
                Problem(model.outcome, f"is the same for everyone who got '{name}'", "look whether the outcome was written down")
            )
    if problems:
        raise DataError([*problems, *reading.odd()])
    return arm, outcome, frame
