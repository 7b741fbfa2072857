"""Rank: for every customer the products that may be offered, by the probability that they are taken."""

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nextbest.models.base import Model, make
from nextbest.plan.stage import quote, text
from nextbest.services.answers import Answers, customer_column, read_answers, told
from nextbest.services.decide import Progress, silent
from nextbest.services.model_files import Card, read_model
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
    as_of: date | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Ranking:
    """Score every pair that may be offered, and write customer, product, `score` (a probability) and `rank` (1 is the best).

    `model` names a kind of model, which is trained on the answers in `data`, or a folder that `train` wrote; by default the
    playbook's. The columns of codes have the names that they have in the tables. Odd rows are kept aside in
    `<out>.rejects.parquet`. Raises PlaybookError, DataError, UsageError.
    """
    trained, card = _trained(model)
    target = Path(out)
    with read_answers(data, playbook, as_of=as_of, need_answers=trained is None, progress=progress) as answers:
        name = card.model if card else str(model or answers.learning.model.model)
        if trained is None:
            trained = make(name)
            trained.fit(answers.answered(), seed)
        customers, pairs = write_scores(answers, trained, target)
        rejects = target.with_suffix(".rejects.parquet")
        kept_aside = answers.engine.rows("select 1 from rejects limit 1")
        if kept_aside:
            answers.engine.export("from rejects order by all", rejects)
        else:
            rejects.unlink(missing_ok=True)
        as_of = answers.learning.book.as_of
        return Ranking(target, customers, pairs, name, as_of, list(map(dict, told(answers.problems))), rejects if kept_aside else None)


def _trained(model: str | Path | None) -> tuple[Model | None, Card | None]:
    if model is not None and Path(model).is_dir():
        return read_model(Path(model))
    return None, None


def write_scores(answers: Answers, model: Model, out: Path) -> tuple[int, int]:
    """Score in batches, rank, and write one file whole. Returns how many customers and pairs."""
    engine, book = answers.engine, answers.learning.book
    customer, product = customer_column(book), answers.learning.product
    kinds = {"BIGINT": pa.int64(), "VARCHAR": pa.string()}
    schema = pa.schema([("customer", kinds[answers.types[0]]), ("product", kinds[answers.types[1]]), ("score", pa.float64())])
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp:
        scored = Path(temp) / "scored.parquet"
        with pq.ParquetWriter(scored, schema) as writer:
            for batch in answers.open():
                columns = [batch.frame.customer, batch.frame["product"], model.propensity(batch)]
                writer.write_table(pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema))
        ranked = (
            f"select customer as {quote(customer)}, product as {quote(product)}, score, "
            f"row_number() over (partition by customer order by score desc, product) as rank from read_parquet({text(str(scored))})"
        )
        whole = Path(temp) / "ranked.parquet"
        engine.export(f"{ranked} order by 1, 4", whole)
        partial = out.with_name(f".{out.name}.part")
        partial.write_bytes(whole.read_bytes())
        partial.replace(out)
        [(customers, pairs)] = engine.rows(f"select count(distinct customer), count(*) from read_parquet({text(str(scored))})")
    return customers, pairs
