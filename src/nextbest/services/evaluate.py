"""Evaluate: every model beside every baseline, on answers that none of them saw, with intervals."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nextbest.arrays import Floats
from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.frame import read_frame
from nextbest.measure.ranking import (
    Figure,
    auc,
    by_customer,
    calibration,
    calibration_error,
    interval,
    log_loss,
    spread,
    weighted_interval,
)
from nextbest.models.base import BUILT_IN, Pairs, make
from nextbest.services.answers import Answers, read_answers
from nextbest.services.progress import Progress, silent

SPLIT, GIVEN = "the last round, learned from those before it", "labels given, learned from all answers"


@dataclass(frozen=True)
class Judged:
    """One model's figures on the same pairs."""

    model: str
    ndcg: Figure
    map: Figure
    recall: Figure
    auc: Figure
    log_loss: Figure | None
    calibration_error: float | None
    calibration: list[dict[str, float]]
    coverage: float
    diversity: float
    share_of_oracle: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """The figures of every model, best NDCG first. `oracle` is the truth's own NDCG where it was given; `law`, that without the noise."""

    k: int
    split: str
    customers: int
    pairs: int
    taken: int
    models: tuple[Judged, ...]
    oracle: float | None
    law: float | None
    problems: list[dict[str, Any]]

    @property
    def table(self) -> pd.DataFrame:
        """One row per model."""
        names = ("ndcg", "map", "recall", "auc", "log_loss")
        rows = []
        for item in self.models:
            figures = {name: getattr(item, name) for name in names}
            row = {"model": item.model, **{name: figure.value if figure else np.nan for name, figure in figures.items()}}
            rows.append({**row, "calibration_error": item.calibration_error, "share_of_oracle": item.share_of_oracle})
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))

    def write(self, folder: Path) -> None:
        """figures.json, with every interval. Raises UsageError for a folder of something else."""
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "figures.json").is_file())):
            raise UsageError([Problem(str(folder), "there is something else here already", "name a new folder, or an earlier report's")])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "figures.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def evaluate(
    data: str | Path,
    playbook: str | Path = "upsell",
    *,
    models: Sequence[str] = BUILT_IN,
    labels: str | Path | None = None,
    truth: str | Path | None = None,
    k: int | None = None,
    as_of: date | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Judge models on answers they did not see.

    By default the last round is kept back: models learn from the rounds before it. With `labels` (a table of customer,
    product, and the answer) they learn from all answers and are judged on it. `truth` (customer, product, true_score) is never
    shown to a model: it only gives the figure that nobody can beat. Where it has a `law_score` too, the score without what is
    the pair's own and follows from nothing, that gives the figure of who knew the law and not the noise.
    Raises PlaybookError, DataError, UsageError.
    """
    made = {name: make(name) for name in models}
    with read_answers(data, playbook, as_of=as_of, progress=progress) as answers:
        k, pairs = k or answers.learning.model.top, answers.answered()
        learned, judged = split(pairs) if labels is None else (pairs, _labelled(answers, Path(labels)))
        score = _truth(answers, judged, Path(truth), "true_score") if truth else None
        law = _truth(answers, judged, Path(truth), "law_score") if truth and "law_score" in read_frame(Path(truth)) else None
        found = []
        for place, (name, model) in enumerate(made.items(), 1):
            progress(f"learning {name}", place, len(made))
            model.fit(learned, seed)
            found.append(judge(name, judged, model.propensity(judged), k, answers.products, seed, against_time=labels is None))
        best, lawful = (
            None if by is None else float(by_customer(judged.frame.customer, by, judged.taken, k).ndcg.mean()) for by in (score, law)
        )
        if best is not None:
            found = [Judged(**{**vars(item), "share_of_oracle": item.ndcg.value / best}) for item in found]
        found.sort(key=lambda item: -item.ndcg.value)
        people = int(judged.frame.customer.nunique())
        split_by = SPLIT if labels is None else GIVEN
        return Evaluation(k, split_by, people, len(judged), int(judged.taken.sum()), tuple(found), best, lawful, answers.reading.listed())


def judge(name: str, pairs: Pairs, propensity: Floats, k: int, products: list[str], seed: int, against_time: bool) -> Judged:
    """A model's figures. Probabilities are judged only `against_time`: labels over several rounds are no single answer."""
    taken, customer = pairs.taken, pairs.frame.customer
    each = by_customer(customer, propensity, taken, k)
    table = calibration(taken, propensity) if against_time else None
    ndcg, precision, recall = (interval(each[column].to_numpy(), seed) for column in ("ndcg", "map", "recall"))
    wide = spread(pairs.frame["product"], customer, propensity, k, len(products))
    return Judged(
        model=name,
        ndcg=ndcg,
        map=precision,
        recall=recall,
        auc=weighted_interval(customer, auc(taken, propensity), seed),
        log_loss=weighted_interval(customer, log_loss(taken, propensity), seed) if against_time else None,
        calibration_error=calibration_error(taken, propensity) if against_time else None,
        calibration=[] if table is None else [{str(key): float(value) for key, value in row.items()} for row in table.to_dict("records")],
        coverage=wide["coverage"],
        diversity=wide["diversity"],
    )


def split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """The rounds before the last, and the last. Raises DataError where there is one only, or nobody took anything in either."""
    turn = pairs.column("round")
    before, last = pairs.where(turn < turn.max()), pairs.where(turn == turn.max())
    if len(before) == 0 or not 0 < before.taken.sum() < len(before) or not 0 < last.taken.sum() < len(last):
        what = "the rounds cannot be split: each part needs answers that took an offer and some that did not"
        raise DataError([Problem("answers", what, "hand in two rounds or more")])
    return before, last


def _read(path: Path, answers: Answers, value: str) -> pd.DataFrame:
    """A table of customer, product and a value, codes as the answers have them. Raises DataError."""
    codes = {answers.learning.book.code: "customer", answers.learning.product: "product"}
    table = read_frame(path, dict.fromkeys(codes, str))
    if missing := [column for column in (*codes, value) if column not in table.columns]:
        raise DataError([Problem(path.name, f"needs the columns {', '.join(missing)}", f"it has {', '.join(map(str, table.columns))}")])
    table = table.rename(columns={**codes, value: "value"})[["customer", "product", "value"]]
    for name, kind in zip(("customer", "product"), answers.types, strict=True):
        number = pd.to_numeric(table[name], errors="coerce") if kind == "BIGINT" else None
        table[name] = table[name].astype(str) if number is None else number.astype("Int64")
    table["value"] = pd.to_numeric(table.value, errors="coerce")
    problems = []
    if odd := int(table.isna().any(axis=1).sum()):
        problems.append(Problem(path.name, f"{odd} rows have no code or no number", "fill them in, or leave them out"))
    if twice := int(table.duplicated(["customer", "product"]).sum()):
        problems.append(Problem(path.name, f"{twice} pairs stand more than once", "keep one row of each"))
    if problems:
        raise DataError(problems)
    return table


def _labelled(answers: Answers, path: Path) -> Pairs:
    table = _read(path, answers, answers.learning.model.taken)
    batches = [batch.frame for batch in answers.open()]
    if not batches:
        raise DataError([Problem("customers", "nobody may be offered anything", "check eligibility and holdings")])
    opened = pd.concat(batches, ignore_index=True)
    joined = opened.merge(table.rename(columns={"value": "taken"}), on=["customer", "product"])
    if len(joined) < len(table):
        what = f"{len(table) - len(joined)} of {len(table)} pairs may not be offered"
        raise DataError([Problem(path.name, what, "leave out what is held or not eligible")])
    if not 0 < joined.taken.sum() < len(joined):
        raise DataError([Problem(path.name, "all labels are the same", "hand in pairs that were taken and some that were not")])
    return Pairs(joined, answers.learning.numbers, answers.learning.words)


def _truth(answers: Answers, pairs: Pairs, path: Path, column: str) -> Floats:
    joined = pairs.frame[["customer", "product"]].merge(_read(path, answers, column), on=["customer", "product"], how="left")
    if joined.value.isna().any():
        raise DataError([Problem(path.name, "lacks pairs that are judged", "hand in the truth of all of them")])
    return np.asarray(joined.value.to_numpy(np.float64))
