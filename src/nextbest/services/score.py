"""Score: the bank case's own scale. Product up to 20 by the place of the reference, message up to 20 by the linter."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.files import read_texts
from nextbest.intake.scan import parquet
from nextbest.messages.lint import DIMENSIONS
from nextbest.playbook.load import load
from nextbest.playbook.speech import AGREEMENT, LENGTH
from nextbest.run import Run
from nextbest.services.lint import failed_of

BY_RANK = {1: 20, 2: 15, 3: 10, 4: 5}
"""The case's points for the reference product at each place of the Top-4."""
PER_DIMENSION = 5
NUMBER = re.compile(r"\d[\d\u00a0]*(?:[.,]\d+)*")


@dataclass(frozen=True)
class Score:
    """Averages over the customers of the reference, and a table with one row per customer.

    `unknown_customers`: how many of them the run does not know; `unknown_products`: products that no offer is called.
    """

    customers: int
    first_right: int
    product: float
    message: float
    per_customer: pd.DataFrame
    unknown_customers: int = 0
    unknown_products: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """Out of 40."""
        return self.product + self.message

    def _repr_html_(self) -> str:
        return str(self.per_customer.to_html(index=False))


def score(out: str | Path, *, reference: str | Path) -> Score:
    """Score an output folder against a file `client_code,product`. Raises UsageError, DataError."""
    run, path = Run(Path(out)), Path(reference)
    if not path.is_file():
        raise UsageError([Problem(str(path), "the file does not exist", "name a CSV with client_code,product")])
    header, written = read_texts(path)
    if any(header.count(name) != 1 for name in ("client_code", "product")):
        raise DataError([Problem(path.name, "needs the columns client_code and product, once each", "rename them")])
    playbook = run.folder / "playbook"
    model = load(playbook).model
    offers = {name: offer.id for offer in model.offers.values() for name in offer.name.values()}
    wanted = pd.DataFrame([row + [""] * (len(header) - len(row)) for row in written], columns=header, dtype=str)
    wanted = wanted[["client_code", "product"]].apply(lambda column: column.str.split().str.join(" "))
    wanted = wanted[(wanted != "").all(axis=1)].drop_duplicates("client_code")
    wanted["offer"] = wanted["product"].map(offers)
    decisions = parquet(run.folder / "decisions.parquet")
    with duckdb.connect() as connection:
        connection.register("wanted", wanted)
        rows = connection.execute(
            f"""select w.client_code, w.product, d.rank, m.message, m.language, m.facts
            from wanted as w
            left join {decisions} as d
              on cast(d.client_code as varchar) = w.client_code and d.offer = w.offer
            left join {parquet(run.folder / "messages.parquet")} as m
              on cast(m.client_code as varchar) = w.client_code
            order by try_cast(w.client_code as bigint), w.client_code"""
        ).fetchall()
        known = f"select cast(client_code as varchar) from {decisions}"
        [(unknown,)] = connection.execute(f"select count(*) from wanted where client_code not in ({known})").fetchall()
    channel = model.business.channel
    results = []
    for language in dict.fromkeys(row[4] or model.business.languages[0] for row in rows):
        chosen = [row for row in rows if (row[4] or model.business.languages[0]) == language]
        failed = failed_of([row[3] or "" for row in chosen], playbook, language, channel)
        dimensions = {**{name: rule.dimension for name, rule in model.voices[language].lint.items()}, LENGTH: "format", AGREEMENT: "format"}
        for (code, product, rank, message, _, facts), broken in zip(chosen, failed, strict=True):
            unbacked = _unbacked(message or "", facts or [])
            marks = _marks([*(dimensions[name] for name in broken), *(["personalisation"] if unbacked else [])], bool(message))
            results.append(
                {"client_code": code, "reference": product, "rank": rank, "product": BY_RANK.get(rank, 0), **marks,
                 "message": sum(marks.values()), "broken": ", ".join([*broken, *(["numbers_without_fact"] if unbacked else [])])}
            )  # fmt: skip
    table = pd.DataFrame(results)
    return Score(
        customers=len(table),
        first_right=int((table["rank"] == 1).sum()) if len(table) else 0,
        product=float(table["product"].mean()) if len(table) else 0.0,
        message=float(table["message"].mean()) if len(table) else 0.0,
        per_customer=table,
        unknown_customers=unknown,
        unknown_products=tuple(sorted(set(wanted["product"]) - offers.keys())),
    )


def _marks(broken: Sequence[str], there: bool) -> dict[str, int]:
    """Five points a dimension, one less for each broken rule; nothing without a text."""
    return {name: max(0, PER_DIMENSION - broken.count(name)) if there else 0 for name in DIMENSIONS}


def _unbacked(message: str, facts: list[dict[str, str]]) -> list[str]:
    """Numbers of the text that no recorded fact shows."""
    shown = {number for fact in facts for number in NUMBER.findall(fact["shown"])}
    return [number for number in NUMBER.findall(message) if number not in shown]
