"""Rank: for every customer the products that may be offered, by the probability that they are taken, and why."""

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.scan import parquet
from nextbest.models.base import Model, Pairs, make
from nextbest.models.reasons import reasons
from nextbest.plan.stage import quote
from nextbest.services.answers import Answers, read_answers
from nextbest.services.model_files import Card, fits, read_card, read_model
from nextbest.services.progress import Progress, silent
from nextbest.settings import Settings


@dataclass(frozen=True)
class Ranking:
    """What was written: where, how many customers and pairs, by which model, and what was odd in the files."""

    path: Path
    customers: int
    pairs: int
    model: str
    as_of: date
    problems: list[dict[str, Any]]
    rejects: Path | None


def rank(
    data: str | Path,
    playbook: str | Path = "upsell",
    *,
    out: str | Path,
    model: str | Path | None = None,
    recommend: str | Path | None = None,
    as_of: date | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Ranking:
    """Score every pair that may be offered, and write customer, product, `score` (a probability) and `rank` (1 is the best).

    `model` names a kind of model, which is trained on the answers in `data`, or a folder that `train` wrote; by default the
    playbook's. The columns of codes have the names that they have in the tables. `recommend`: a file for each customer's first
    products with reasons, and the exact part of the log-odds that each reason has. Odd rows are kept aside in
    `<out>.rejects.parquet`. Raises PlaybookError, DataError, UsageError.
    """
    trained, card = _trained(model)
    named = make(model) if isinstance(model, str) and card is None else None  # one that is not there is told before anything is read
    target, first = Path(out), Path(recommend) if recommend else None
    for path in (target, *([first] if first else [])):
        if path.is_dir() or path.suffix not in (".parquet", ".csv"):
            raise UsageError([Problem(str(path), "neither a .parquet nor a .csv file", "name one")])
        path.parent.mkdir(parents=True, exist_ok=True)
    with (
        read_answers(data, playbook, as_of=as_of, need_answers=trained is None, progress=progress) as answers,
        tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp,
    ):
        name = card.model if card else str(model or answers.learning.model.model)
        if card:
            fits(card, "offers", answers.learning.numbers, answers.learning.words)
        if trained is None:
            progress(f"learning {name}", 1, 2)
            trained = named or make(name)
            trained.fit(answers.answered(), seed)
        if not answers.engine.rows("select 1 from opened where failed = '' limit 1"):
            fix = "check incomes, requirements, and what is held"
            raise DataError([Problem("customers", "no product may be offered to anyone", fix), *answers.reading.odd()])
        progress("ranking", 2, 2)
        ranked = _Ranked(answers, trained, Path(temp), explain=first is not None)
        ranked.score()
        [(customers, pairs)] = answers.engine.rows("select count(distinct customer), count(*) from ranked")
        ranked.write(target)
        if first:
            ranked.recommend(first)
        reading, day = answers.reading, answers.learning.book.as_of
        return Ranking(target, customers, pairs, name, day, reading.listed(), reading.write_rejects(target))


def _trained(model: str | Path | None) -> tuple[Model | None, Card | None]:
    if model is not None and Path(model).is_dir():
        card = read_card(Path(model))
        return (read_model(Path(model))[0] if card.task == "offers" else None), card
    return None, None


@dataclass
class _Ranked:
    """Scores pairs in batches, so that memory stays bounded, and ranks them in the engine."""

    answers: Answers
    model: Model
    temp: Path
    explain: bool

    def score(self) -> None:
        """Make the view `ranked`: customer, product, score, rank, and where asked for the reasons."""
        kinds = {"BIGINT": pa.int64(), "VARCHAR": pa.string()}
        codes = [pa.field(name, kinds[kind]) for name, kind in zip(("customer", "product"), self.answers.types, strict=True)]
        path, writer = self.temp / "scored.parquet", None
        for batch in self.answers.open():
            table = self._scored(batch, codes)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        assert writer is not None  # that something may be offered was looked at before
        writer.close()
        by = "row_number() over (partition by customer order by score desc, product)"
        self.answers.engine.execute(
            f"create or replace view ranked as select customer, product, score, {by} as rank, * exclude (customer, product, score) "
            f"from {parquet(path)}"
        )

    def _scored(self, batch: Pairs, codes: list[pa.Field]) -> pa.Table:
        columns = [pa.array(batch.frame[code.name], code.type) for code in codes] + [pa.array(self.model.propensity(batch))]
        table = pa.table(columns, names=["customer", "product", "score"])
        contributions = self.model.contributions(batch) if self.explain else None
        if contributions is None:
            return table
        learning = self.answers.learning
        found = reasons(batch, contributions, learning.reasons, learning.book.model.business.languages[0])
        for name in found.columns:
            table = table.append_column(name, pa.array(found[name], pa.string() if found[name].dtype == object else None))
        return table

    def write(self, out: Path) -> None:
        """Every pair: customer, product, score, rank."""
        self._export("customer, product, score, rank", "", out)

    def recommend(self, out: Path) -> None:
        """The first products of each customer, with everything that is known of them."""
        columns = "customer, product, rank, score, * exclude (customer, product, rank, score)"
        self._export(columns, f"where rank <= {self.answers.learning.model.top}", out)

    def _export(self, columns: str, where: str, out: Path) -> None:
        customer, product = quote(self.answers.learning.book.code), quote(self.answers.learning.product)
        renamed = columns.replace("customer, product", f"customer as {customer}, product as {product}", 1)
        partial = out.with_name(f".{out.stem}.part{out.suffix}")
        self.answers.engine.export({partial: f"select {renamed} from ranked {where} order by ranked.customer, ranked.rank"})
        partial.replace(out)
