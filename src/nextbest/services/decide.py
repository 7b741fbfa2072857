"""Decide: three tables in; a decided, explained, worded offer for every customer out."""

import hashlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from nextbest import __version__
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import Problem, UsageError
from nextbest.intake.files import Found, find
from nextbest.messages import render
from nextbest.plan import candidates, features, staging
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.bind import Bound, bound
from nextbest.playbook.load import load
from nextbest.report.html import write_report
from nextbest.run import Run
from nextbest.services.folder import written_whole
from nextbest.services.reading import Reading
from nextbest.settings import Settings

Progress = Callable[[str, int, int], None]
"""Called as each stage begins: its title, its place, how many there are."""


def silent(title: str, place: int, of: int) -> None:
    """Progress that shows nothing."""


def decide(
    data: str | Path | None,
    playbook: str | Path = "bank-kz",
    *,
    as_of: date | str,
    out: str | Path,
    tables: Mapping[str, str | Path | Iterable[str | Path]] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Run:
    """Decide for every customer of `data` and write everything to the folder `out`, whole or not at all.

    `data` is a folder; `tables` names files of a source explicitly. Raises PlaybookError, DataError, UsageError.
    """
    book = bound(load(playbook), day_of(as_of))
    explicit = {
        name: [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)] for name, paths in (tables or {}).items()
    }
    found = find(Path(data) if data is not None else None, explicit, book.model.business)
    target = Path(out)
    with (
        written_whole(target) as folder,
        tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp,
        DuckDBEngine(Path(temp)) as engine,
    ):
        _Job(book, found, engine, folder, Path(temp), seed, progress).run()
    return Run(target)


def day_of(value: date | str) -> date:
    """A day as a date. Raises UsageError for what is not one, or lies outside 1900–2200."""
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value.date() if isinstance(value, datetime) else value
    except ValueError:
        raise UsageError([Problem(f"as-of {value}", "not a day", "write it as 2025-08-31")]) from None
    if not 1900 <= day.year <= 2200:
        raise UsageError([Problem(f"as-of {value}", "no day that anyone decides for", "write it as 2025-08-31")])
    return day


@dataclass
class _Job:
    """One run: the stages in their order, their timings, and what they came to."""

    book: Bound
    found: Found
    engine: DuckDBEngine
    folder: Path
    temp: Path
    seed: int
    progress: Progress
    timings: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reading = Reading(self.book, self.found, self.engine, self.temp)
        self.counts: dict[str, Any] = self.reading.counts

    def run(self) -> None:
        """All stages, then the files."""
        business = self.book.model.business
        customers = business.customers
        sources = [name for name in business.sources if name != customers]
        steps: list[tuple[str, Callable[[], None]]] = [
            (f"reading {customers}", self.reading.customers),
            *((f"reading {name}", partial(self.reading.activity, name)) for name in sources),
            *((f"summing {name}", partial(self._make, features.cells(self.book, name))) for name in sources),
            ("computing features", self._features),
            ("scoring offers", partial(self._make, candidates.scored(self.book))),
            ("writing messages", self._messages),
            ("recording decisions", self._export),
            ("writing the report", self._report),
        ]
        for place, (title, step) in enumerate(steps, 1):
            self.progress(title, place, len(steps))
            started = time.perf_counter()
            step()
            self.timings.append({"stage": title, "seconds": round(time.perf_counter() - started, 3)})
        self.progress("done", len(steps), len(steps))
        self._write_run()

    @property
    def key(self) -> str:
        """The customer's code, quoted."""
        business = self.book.model.business
        return quote(staging.id_column(business.sources[business.customers]))

    def _make(self, stage: Stage) -> None:
        self.engine.create(stage)

    def _features(self) -> None:
        self._make(features.features(self.book))
        self._make(features.population(self.book))
        self.engine.view(features.signals(self.book))

    def _messages(self) -> None:
        self._make(render.addressed(self.book))
        self._write_texts("addressed", "messages")
        while self.engine.rows("select 1 from messages where len(failed) > 0 limit 1"):
            # First without the name, which the rules may dislike; then with the next wording.
            tried = "case when nameless or greet = '' then list_append(tried, choice) else tried end"
            again = f"select {self.key}, place, language, true as allowed, true as nameless, {tried} as tried"
            self._make(Stage("again", "one refused text", f"{again} from messages where len(failed) > 0"))
            self._write_texts("again", "rewritten")
            self.engine.execute("delete from messages where len(failed) > 0")
            self.engine.execute("insert into messages from rewritten")

    def _write_texts(self, source: str, name: str) -> None:
        pairs = self.engine.rows(f"select distinct place, language from {source} where allowed order by all")
        selects = [render.texts(self.book, place, language, source) for place, language in pairs]
        if not selects:  # nobody may be written to: the table is there all the same
            selects = [render.texts(self.book, 1, self.book.model.business.languages[0], source)]
        self._make(Stage("drafts", "one customer with a first offer", "\nunion all\n".join(selects)))
        for stage in (render.shaped, render.shapes):
            self._make(stage(self.book))
        self._make(render.linted(self.book, name))

    def _export(self) -> None:
        customers = self.book.model.business.customers
        export = self.engine.export
        self.engine.view(candidates.decisions(self.book))
        export("from decisions", self.folder / "decisions.parquet")
        export("from signals", self.folder / "features.parquet")
        export(
            f"select {self.key}, a.offer, a.language, m.treatment, m.message, length(m.message) as characters, m.facts, "
            f"coalesce(m.failed, []) as failed, case when not a.allowed then 'no consent' "
            f"when m.message is null then 'no treatment fits' end as withheld "
            f"from (select *, {self._offer_at('place')} as offer from addressed) as a left join messages as m using ({self.key}) "
            f"order by {self.key}",
            self.folder / "messages.parquet",
        )
        export(
            f"select c.{self.key} as client_code, {self._product_at('a.place')} as product, "
            f"coalesce(m.message, '') as push_notification from {customers} as c "
            f"left join addressed as a using ({self.key}) left join messages as m using ({self.key}) order by 1",
            self.folder / "recommendations.csv",
        )
        export("from rejects order by all", self.folder / "rejects.parquet")
        shutil.copytree(self.book.loaded.folder, self.folder / "playbook")

    def _offer_at(self, place: str) -> str:
        return self._by_place(place, {number: offer.id for number, offer in enumerate(self.book.offers, 1)})

    def _product_at(self, place: str) -> str:
        language = self.book.model.business.languages[0]
        return self._by_place(place, {n: offer.model.name[language] for n, offer in enumerate(self.book.offers, 1)})

    def _by_place(self, place: str, names: dict[int, str]) -> str:
        return f"case {place} " + " ".join(f"when {number} then {text(name)}" for number, name in names.items()) + " end"

    def _summary(self) -> None:
        customers = self.book.model.business.customers
        rows = self.engine.rows
        [(scored,)] = rows("select count(*) from features")
        [(offered,)] = rows("select count(*) from addressed")
        [(allowed, written)] = rows("select count(*), count(message) from messages")
        objected = self.counts[customers]["kept"] - scored
        self.counts["customers"] = {
            "scored": scored,
            "objected_to_profiling": objected,
            "with_offer": offered,
            "without_offer": scored - offered,
            "with_message": written,
            "without_consent": offered - allowed,
            "without_fitting_text": allowed - written,
        }

    def _report(self) -> None:
        self._summary()
        write_report(self.engine, self.book, self._record(), self.folder / "report.html")

    def _record(self) -> dict[str, Any]:
        loaded, business = self.book.loaded, self.book.model.business
        files = [
            {
                "source": file.source,
                "file": file.path.name,
                "kind": file.kind,
                "encoding": file.encoding if file.kind != "parquet" else None,
                "delimiter": file.delimiter if file.kind != "parquet" else None,
                "sha256": _digest(file.path),
            }
            for file in self.found.files
        ]
        together = hashlib.sha256("".join(str(item["sha256"]) for item in files).encode()).hexdigest()
        return {
            "as_of": self.book.as_of.isoformat(),
            "seed": self.seed,
            "playbook": {"name": business.name, "version": business.version, "sha256": loaded.hash},
            "data": {"sha256": together, "files": files, "unused_files": list(self.found.unused),
                     "ignored_columns": {name: list(columns) for name, columns in self.found.ignored_columns.items()}},
            "versions": {"nextbest": __version__, "duckdb": duckdb.__version__, "python": platform.python_version()},
            "counts": self.counts,
            "problems": self.reading.problems,
        }  # fmt: skip

    def _write_run(self) -> None:
        record = {**self._record(), "stages": self.timings}
        (self.folder / "run.json").write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
