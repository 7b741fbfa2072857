"""Activity: train a model of whose activity will fall, judge it honestly, and say of each customer how likely and why."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import skops.io

from nextbest.errors import DataError, Problem, UsageError
from nextbest.models import calibration as scales
from nextbest.models.activity import Model, Table
from nextbest.models.inspection import inspect
from nextbest.plan.features import rows_of
from nextbest.plan.stage import quote
from nextbest.plan.staging import is_rejected
from nextbest.playbook.bind import bound
from nextbest.playbook.bind_learning import BoundActivityLearning, bound_activity_learning
from nextbest.playbook.load import Loaded, load, write
from nextbest.playbook.speech import Voice
from nextbest.playbook.window import horizon, month_starts, months_before
from nextbest.report.activity import write_page
from nextbest.rules.render import sql
from nextbest.services.folder import written_whole
from nextbest.services.judging import Judged, judge
from nextbest.services.model_files import CARD, PIPELINES, SEEN, STATE, TRUSTED, Card, card_of, read_card, write_json
from nextbest.services.moment import a_day, day_of
from nextbest.services.progress import Progress, silent
from nextbest.services.reading import Reading
from nextbest.services.summing import read_customers

PLAYBOOK, REPORT = "playbook", "report.html"
FELL = "fell "
"""The column of what became of a customer: 1, 0, or unknown. A name that no playbook's column has."""
LEAST = 50
"""Customers of either kind below which nothing can be judged."""


@dataclass(frozen=True)
class Trained:
    """A model of activity and its card, and how it was judged."""

    folder: Path
    card: Card
    judged: Judged


@dataclass(frozen=True)
class Predicted:
    """What was written: where, for how many customers, and how many of them fall at the model's threshold."""

    path: Path
    customers: int
    falls: int
    problems: list[dict[str, Any]]
    rejects: Path | None


def train_activity(
    data: str | Path,
    playbook: str | Path = "shop",
    *,
    out: str | Path,
    repeats: int = 1,
    hold_outs: int = 0,
    as_of: date | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Trained:
    """Train on the customers whose label is known, and write a model's folder.

    The figures of the card are of nested cross-validation, `repeats` times over: the family is chosen anew inside each fold.
    `hold_outs`: so many splits that keep a fifth back stand beside it, to show how far a single one may stray.
    Raises PlaybookError, DataError, UsageError.
    """
    with _read(data, load(playbook), as_of, progress, label=True) as (learning, frame, reading):
        table = _labelled(learning, frame, reading)
        judged = judge(table, learning.threshold, repeats, hold_outs, seed, progress)
        progress("learning from all", 1, 2)
        model = Model.fitted(table, seed)
        progress("looking into it", 2, 2)
        seen = inspect(model, table, judged.lost, seed)
        book = learning.book
        card = card_of(
            book,
            "activity",
            model.family,
            seed=seed,
            numbers=list(table.numbers),
            words=list(table.words),
            products=[],
            rows=len(table.frame),
            taken=int(table.falls.sum()),
            figures=judged.figures()
            | {"threshold": learning.threshold, "settings": model.settings, "features_as_of": _day_of_features(reading)}
            | {"importance": seen.importance.to_dict("records"), "learning_curve": seen.curve.to_dict("records")},
            cautions=CAUTIONS,
        )
        with written_whole(Path(out), mark=CARD) as scratch:
            skops.io.dump(model.parts, scratch / PIPELINES)
            model.seen.rename_axis("row").rename("odds").reset_index().to_parquet(scratch / SEEN, index=False)
            rest = {
                "family": model.family,
                "settings": model.settings,
                "scale": model.scale.state() if model.scale else None,
                "grid": model.grid,
                "threshold": learning.threshold,
                "background": model.background.astype(object).where(model.background.notna(), None).to_dict("list"),
            }
            write_json(scratch, {STATE: rest, CARD: asdict(card)})
            write(book.loaded, scratch / PLAYBOOK)
            title = book.model.business.title.get("en") or book.model.business.name
            write_page(title, asdict(card), seen, lambda name: book.called(name, "en"), scratch / REPORT)
        return Trained(Path(out), card, judged)


CAUTIONS = [
    "A probability of a fall is no effect of an offer: who is likely to leave may not be who can be kept (see uplift).",
    "Learned from one period's customers: watch the calibration when seasons or prices change.",
    "The folder holds rows of customers, without codes: treat it as personal data, and train again once somebody had themselves erased.",
    "Of rows it learned from, unchanged, it repeats what it said before it saw them; of the same customers later it may be too sure.",
    "The threshold follows from the declared costs of the playbook: samples until the business sets its own.",
]


def predict(
    data: str | Path,
    model: str | Path,
    *,
    out: str | Path,
    language: str | None = None,
    as_of: date | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Predicted:
    """Write for each customer: code, `probability`, `falls`, `low` and `high` around it, and three reasons in words.

    The data may lack the label. `as_of`: the day of the features, by default that of the training.
    Odd rows are kept aside in `<out>.rejects.parquet`. Raises PlaybookError, DataError, UsageError.
    """
    folder, target = Path(model), Path(out)
    fitted, threshold = read_activity(folder)
    if target.is_dir() or target.suffix != ".parquet":
        raise UsageError([Problem(str(target), "no .parquet file", "name one")])
    with _read(data, load(folder / PLAYBOOK), as_of or read_card(folder).as_of, progress) as (learning, frame, reading):
        languages = learning.book.model.business.languages
        if (spoken := language or languages[0]) not in languages:
            raise UsageError([Problem(f"language {spoken}", "not a language of the playbook", ", ".join(languages))])
        if frame.empty:
            raise DataError([Problem("customers", "nobody is left to predict for", "check the codes, and who objects to profiling")])
        progress("predicting", 1, 1)
        reading.unknown_features(fitted.leans_on)
        rows = Table(frame, learning.numbers, learning.words).features
        probability = fitted.probability(rows)
        low, high = fitted.interval(rows, probability)
        falls = probability >= threshold
        words = _words(learning, rows, fitted.reasons(rows, seed), spoken)
        code = learning.book.code
        columns = {code: frame[code], "probability": probability, "falls": falls, "low": low, "high": high, **words}
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        pq.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), partial)
        partial.replace(target)
        return Predicted(target, len(frame), int(falls.sum()), reading.listed(), reading.write_rejects(target))


def read_activity(folder: Path) -> tuple[Model, float]:
    """The fitted model, and the probability from which on an offer is worth its cost. Raises UsageError."""
    card = read_card(folder)
    if card.task != "activity":
        raise UsageError([Problem(str(folder), f"is a model of {card.task}, not of activity", "train with --task activity")])
    try:
        rest = json.loads((folder / STATE).read_text(encoding="utf-8"))
        parts = [(float(weight), part) for weight, part in skops.io.load(folder / PIPELINES, trusted=TRUSTED)]
        background = pd.DataFrame(rest["background"])
        seen = pd.read_parquet(folder / SEEN).set_index("row").odds
        model = Model(rest["family"], rest["settings"], parts, scales.restored(rest["scale"]), rest["grid"], background, seen)
        return model, float(rest["threshold"])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, skops.io.exceptions.UntrustedTypesFoundException):
        raise UsageError([Problem(str(folder), "the model cannot be read", "train it again")]) from None


@contextmanager
def _read(
    data: str | Path, loaded: Loaded, as_of: date | str | None, progress: Progress, label: bool = False
) -> Iterator[tuple[BoundActivityLearning, pd.DataFrame, Reading]]:
    """The customers of a folder with their features, by code. `label`: and what became of them, in the column FELL.

    Where no column says it, the features are of an earlier day, and what became of them is looked up on the as-of day.
    """
    if loaded.model.learn is None or loaded.model.learn.activity is None:
        what = "has no learn.yaml with `activity`: it does not say what a fall is"
        raise UsageError([Problem(f"playbook '{loaded.model.business.name}'", what, "take the playbook `shop` for an example")])
    book = bound(loaded, day_of(as_of) if as_of is not None else a_day(loaded))
    learning = bound_activity_learning(book)
    assert learning is not None
    later = _fell_later(data, learning, progress) if label and learning.fell else None
    before = replace(learning, book=bound(loaded, _before(learning))) if later is not None else learning
    with read_customers(data, before.book, progress) as reading:
        columns = [*([learning.model.label] if label and learning.model.label else []), *learning.model.uses]
        frame = reading.engine.batches(rows_of(before.book, *columns), 100_000).read_all().to_pandas()
        if later is not None:
            _check_history(before, reading)
            frame[FELL] = frame[book.code].map(later)
        elif label:
            said = frame[learning.model.label]
            frame[FELL] = (said == learning.model.falls).astype(float).where(said.notna() & (said != "?"))
        yield learning, frame, reading


def _day_of_features(reading: Reading) -> str | None:
    """None where no table has dates: then the features are of whatever day the tables are of."""
    dated = any("date" in source.columns for source in reading.sources.values())
    return str(reading.book.as_of) if dated else None


def _before(learning: BoundActivityLearning) -> date:
    """The last day of which the features know."""
    return horizon(learning.book.as_of, learning.model.months_before).start - timedelta(days=1)


def _fell_later(data: str | Path, learning: BoundActivityLearning, progress: Progress) -> "pd.Series[float]":
    """Whether each customer's activity fell by the as-of day, by code."""
    assert learning.fell is not None
    with read_customers(data, learning.book, progress) as reading:
        fell = f"cast({sql(learning.fell, 'duckdb')} as double)"
        select = f"select {reading.key}, {fell} as fell from features cross join population order by 1"
        return reading.engine.batches(select, 100_000).read_all().to_pandas().set_index(learning.book.code).fell


def _check_history(before: BoundActivityLearning, reading: Reading) -> None:
    """Features of an earlier day need as long a history as those of the day itself, or they would mean something else."""
    book = before.book
    months = book.model.business.horizon_months
    first = month_starts(book.as_of, months)[-1]
    problems = []
    for name, source in book.model.business.sources.items():
        if name == book.model.business.customers or "date" not in source.columns or not reading.found.of(name):
            continue
        [(earliest,)] = reading.engine.rows(f"select min(date) from {quote(name)} where problem is null or not {is_rejected()}")
        if earliest is None or earliest >= months_before(first, -1):
            what = f"no rows of the month from {first}, and features of {book.as_of} look at {months} months"
            problems.append(Problem(name, what, f"hand in rows from {first} on"))
    if problems:
        raise DataError(problems)


def _labelled(learning: BoundActivityLearning, frame: pd.DataFrame, reading: Reading) -> Table:
    known = frame[FELL].notna().to_numpy()
    falls = frame[FELL][known].to_numpy(np.float64)
    if min(falls.sum(), len(falls) - falls.sum()) < LEAST:
        what = f"{int(falls.sum())} customers whose activity fell and {int(len(falls) - falls.sum())} others with a known label"
        source = learning.book.model.business.sources[learning.book.model.business.customers]
        words = f", in the words {', '.join(source.columns[learning.model.label].values)}" if learning.model.label else ""
        odd = [] if learning.fell else reading.odd()  # of an earlier day all later rows are odd, as they should be
        raise DataError([Problem(learning.model.label or "falls_when", what, f"hand in {LEAST} of either or more{words}"), *odd])
    return Table(frame[known].reset_index(drop=True), learning.numbers, learning.words, falls)


def _words(learning: BoundActivityLearning, rows: pd.DataFrame, parts: pd.DataFrame, language: str) -> dict[str, Any]:
    """The three reasons with the largest parts, each with the value of its largest feature."""
    declared, voice = learning.model.reasons, learning.book.model.voices[language]
    sums, texts = [], []
    for item in declared.values():
        own, features = parts[item.of], rows[item.of]
        known = (features.notna() & (features != "")).to_numpy()
        sums.append(np.where(known.any(axis=1), own.sum(axis=1).to_numpy(), 0.0))  # of what nobody knows nothing can be said
        largest = np.where(known, own.abs().to_numpy(), -1.0).argmax(axis=1)
        shown = np.select(
            [largest == place for place in range(len(item.of))],
            [f"{learning.book.called(name, language)} " + _written(rows[name], voice) for name in item.of],
            default="",
        )
        raised = sums[-1] > 0
        said = np.where(raised, _in(item.raises, language), _in(item.lowers, language))
        texts.append((pd.Series(said) + " (" + pd.Series(shown) + ")").where(known.any(axis=1), ""))
    order = np.argsort(-np.abs(np.column_stack(sums)), axis=1, kind="stable") if sums else np.zeros((len(rows), 0), dtype=int)
    found = {}
    for place in range(min(3, order.shape[1])):
        found[f"reason_{place + 1}"] = np.select([order[:, place] == n for n in range(len(texts))], texts, default="")
    return found


def _in(texts: Mapping[str, str], language: str) -> str:
    return texts.get(language, next(iter(texts.values())))


def _written(values: "pd.Series[Any]", voice: Voice) -> "pd.Series[str]":
    """Values as the voice writes them, numbers with two decimals, or below 0.1 with two digits, at most six decimals."""
    if values.dtype == object or not pd.api.types.is_numeric_dtype(values):
        return values.astype(str).reset_index(drop=True)
    marks = str.maketrans({",": voice.thousands, ".": voice.decimal})

    def written(value: float) -> str:
        if pd.isna(value):
            return "?"
        decimals = 2 if value == 0 or abs(value) >= 0.1 else min(6, 1 - math.floor(math.log10(abs(value))))
        number = f"{round(value, decimals) + 0.0:,.{decimals}f}".rstrip("0").rstrip(".")  # 0.0: no -0
        return number.translate(marks)

    return values.map(written).reset_index(drop=True)
