"""Decide: three tables in; a decided, explained, worded offer for every customer out."""

import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from nextbest import __version__
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import PlaybookError, Problem
from nextbest.intake.files import find
from nextbest.plan import candidates, features, records
from nextbest.plan.features import SUMMED
from nextbest.plan.replies import replies as make_replies
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.bind import Bound, bound
from nextbest.playbook.load import load, write
from nextbest.report.html import write_report
from nextbest.run import Run
from nextbest.services.folder import written_whole
from nextbest.services.job import Job
from nextbest.services.moment import day_of, moment_of
from nextbest.services.progress import Progress, silent
from nextbest.services.provenance import provenance, run_id_of
from nextbest.services.reading import Reading
from nextbest.services.summing import sum_up
from nextbest.settings import Settings

if TYPE_CHECKING:
    from nextbest.services.forecasts import Forecast
    from nextbest.services.memory import Memory
    from nextbest.store.workspace import Workspace


_UNCOMPUTABLE = (duckdb.DataError, duckdb.BinderException, duckdb.InvalidInputException)
"""What is amiss with a rule once it meets values. Their own words may hold a customer's, so they are not told."""
_FEATURES, _SCORES, _POLICY, _MESSAGES = "computing features", "scoring offers", "applying the contact policy", "writing messages"
_OF_RULES = (_FEATURES, _SCORES, _POLICY, _MESSAGES)
"""The stages that compute what rules say."""


def decide(
    data: str | Path | None,
    playbook: str | Path = "bank-kz",
    *,
    as_of: date | str,
    out: str | Path,
    tables: Mapping[str, str | Path | Iterable[str | Path]] | None = None,
    workspace: str | Path | None = None,
    at: datetime | str | None = None,
    seed: int = 0,
    replies: bool = False,
    models: Iterable[str | Path] = (),
    progress: Progress = silent,
) -> Run:
    """Decide for every customer of `data` and write everything to the folder `out`, whole or not at all.

    `data` is a folder; `tables` names files of a source explicitly. With a `workspace` (a folder, or a PostgreSQL URL)
    consents, earlier contacts and holdouts are heeded, and the decisions recorded; the same call again makes the same
    output and contacts nobody twice. `at`: from when messages may go out, by default the day after `as_of`.
    `replies`: write replies.parquet too, each customer's reply as a server gives it. `models`: folders that `train` wrote, at
    most one of each task; what they say stands in the customer columns that learn.yaml names, where a file leaves them blank.
    Raises PlaybookError, DataError, UsageError, StoreError.
    """
    book = bound(load(playbook), day_of(as_of))
    moment = moment_of(at, book)
    explicit = {
        name: [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)] for name, paths in (tables or {}).items()
    }
    asked, digests = _asked(list(models), book)
    others = {name: table for forecast in asked for name, table in forecast.tables.items()}
    sources = {**book.model.business.sources, **others}
    found = find(Path(data) if data is not None else None, explicit, sources, optional=("held", "answers") if others else ())
    target = Path(out)
    with (
        written_whole(target) as folder,
        tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp,
        DuckDBEngine(Path(temp)) as engine,
        _opened(workspace) as memory,
    ):
        reading = Reading(book, found, engine, Path(temp), others=others)
        _Batch(Job(book, engine, moment), reading, asked, digests, folder, seed, replies, progress, memory).run()
    return Run(target)


def _opened(workspace: str | Path | None) -> "AbstractContextManager[Workspace | None]":
    if workspace is None:
        return nullcontext()
    from nextbest.store.workspace import Workspace  # half a second, which a run without one is spared

    return Workspace(workspace)


def _asked(models: list[str | Path], book: Bound) -> "tuple[list[Forecast], list[dict[str, str]]]":
    if not models:
        return [], []
    from nextbest.services import forecasts  # what models need takes seconds to import

    return forecasts.forecasts(models, book), forecasts.digests(models)


@dataclass
class _Batch:
    """One run over a folder of tables: the stages in their order, their timings, and what they came to."""

    job: Job
    reading: Reading
    forecasts: "list[Forecast]"
    models: list[dict[str, str]]
    folder: Path
    seed: int
    replies: bool
    progress: Progress
    workspace: "Workspace | None"
    timings: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book, self.engine, self.key = self.job.book, self.job.engine, self.job.key
        self.found, self.temp = self.reading.found, self.reading.temp
        self.counts: dict[str, Any] = {"rows": self.reading.counts}
        with ThreadPoolExecutor(Settings().threads) as pool:
            self.digests = list(pool.map(_digest, (file.path for file in self.found.files)))
        together = hashlib.sha256("".join(self.digests).encode()).hexdigest()
        self.provenance = provenance(self.book, self.job.moment, together, self.seed, self.models)
        self.memory = self._memory()

    def _memory(self) -> "Memory | None":
        if self.workspace is None:
            return None
        from nextbest.services.memory import Memory

        return Memory(self.workspace, run_id_of(self.provenance), dict(self.provenance))

    def run(self) -> None:
        """All stages, then the files."""
        steps: list[tuple[str, Callable[[], None]]] = [
            (f"reading {self.book.model.business.customers}", self._customers),
            (f"summing {', '.join(self.reading.activity)}", partial(sum_up, self.reading)),
            (_FEATURES, self._features),
            *([("forecasting", self._forecast)] if self.forecasts else []),
            (_SCORES, self.job.score),
            (_POLICY, self._hold),
            (_MESSAGES, self.job.write),
            *([("recording in the ledger", partial(self.memory.record, self.job, self.temp))] if self.memory else []),
            ("writing decisions", self._first_export),
            ("writing the report", self._report),
        ]
        for place, (title, step) in enumerate(steps, 1):
            self.progress(title, place, len(steps))
            started = time.perf_counter()
            try:
                step()
            except _UNCOMPUTABLE as error:
                if title not in _OF_RULES:
                    raise
                what, fix = f"a rule cannot be computed ({type(error).__name__})", "does one mix kinds of values, e.g. text and number?"
                raise PlaybookError([Problem(title, what, fix)]) from error
            self.timings.append({"stage": title, "seconds": round(time.perf_counter() - started, 3)})
        if self.memory and self.memory.late(self.job):  # said while the files were written
            self._export()
            self._report()
        self.progress("done", len(steps), len(steps))
        self._write_run()

    def _make(self, stage: Stage) -> None:
        self.engine.create(stage)

    def _customers(self) -> None:
        salt = ""
        if self.memory:
            self.reading.remembered = self.memory.consents(self.job)
            salt = self.memory.erased_salt
            advice = "the playbook has no such purpose (contact.yaml): what was said about it is not heeded"
            self.reading.problems += [
                {"table": "consents", "problem": "unknown_purpose", "column": name, "rows": count, "kept": True, "advice": advice}
                for name, count in self.memory.unknown_purposes.items()
            ]
        self.reading.customers()
        self._make(features.left_alone(self.book, holdouts=self.memory is not None, erased_salt=salt))
        self._make(records.places(self.book))

    def _features(self) -> None:
        self.job.features()
        self.engine.drop(SUMMED)
        for name in (self.book.model.business.customers, *self.reading.activity):
            self.engine.drop(f"{name}_rows")  # they have been summed: what comes next needs the room

    def _forecast(self) -> None:
        for forecast in self.forecasts:
            forecast.read(self.reading)
            forecast.fill(self.reading)
        self.job.features_again()

    def _hold(self) -> None:
        if self.memory:
            self.memory.reserve(self.job)
        else:
            self.job.no_past()
            self.job.hold(explore=False)

    def _first_export(self) -> None:
        if self.memory:
            self.memory.late(self.job)
        self._export()

    def _export(self) -> None:
        customers = self.book.model.business.customers
        rests = bool(self.engine.rows("select 1 from contacted where resting is not null limit 1"))
        decision_id = f"{text(self.memory.run_id + '-')} || place_in_run" if self.memory else "cast(null as varchar)"
        files = {
            "decisions.parquet": candidates.decisions(self.book, rests).select,
            "features.parquet": features.written(self.book),
            "messages.parquet": f"select {self.key}, {decision_id} as decision_id, {self._offer_at('c.place')} as offer, a.language, "
            f"m.treatment, m.message, length(m.message) as characters, m.facts, "
            "case when m.place is not null and m.message is null then list_sort(list_distinct(m.failed)) else [] end as failed, "
            f"{records.withheld('c', 'm')} as withheld, "
            f"case when m.message is not null then make_timestamp(c.send_at * 1000000) end as send_at, "
            f"case when {records.withheld('c', 'm')} is null then c.chance end as chance "
            f"from contacted as c join addressed as a using ({self.key}) join places using ({self.key}) "
            f"left join messages as m using ({self.key}) order by {self.key}",
            "recommendations.csv": f"select c.{self.key}, {self._product_at('a.place')} as product, "
            f"coalesce(m.message, '') as push_notification from {customers} as c "
            f"left join addressed as a using ({self.key}) left join messages as m using ({self.key}) order by 1",
            "rejects.parquet": "from rejects order by all",
        }
        if self.replies:
            files["replies.parquet"] = make_replies(self.book, self.memory.run_id if self.memory else None).select
        self.engine.export({self.folder / name: select for name, select in files.items()})
        write(self.book.loaded, self.folder / "playbook")

    def _offer_at(self, place: str) -> str:
        return self._by_place(place, {number: offer.id for number, offer in enumerate(self.book.offers, 1)})

    def _product_at(self, place: str) -> str:
        language = self.book.model.business.languages[0]
        return self._by_place(place, {n: offer.model.name[language] for n, offer in enumerate(self.book.offers, 1)})

    def _by_place(self, place: str, names: dict[int, str]) -> str:
        return f"case {place} " + " ".join(f"when {number} then {text(name)}" for number, name in names.items()) + " end"

    def _summary(self) -> None:
        rows = self.engine.rows
        [(customers,)] = rows(f"select count(*) from {quote(self.book.model.business.customers)}")
        [(scored,)] = rows("select count(*) from features")
        alone = dict(rows("select held_by, count(*) from left_alone group by 1 order by 1"))
        withheld = records.withheld("c", "m")
        held = dict(
            rows(
                f"select {withheld}, count(*) from contacted as c left join messages as m using ({self.key}) "
                f"where {withheld} is not null group by 1 order by 1"
            )
        )
        [(offered,)] = rows("select count(*) from contacted")
        [(written,)] = rows("select count(message) from messages")
        self.counts["customers"] = {
            "scored": scored,
            "objected_to_profiling": alone.get("profiling", 0),
            "erased": alone.get("erased", 0),
            "held_out": sum(count for rule, count in alone.items() if rule.startswith("holdout")),
            "with_offer": offered,
            "without_offer": scored - offered,
            "with_message": written,
            "without_consent": held.get("consent", 0),
            "without_fitting_text": held.get("no_text", 0),
            "held_back": sum(count for rule, count in held.items() if rule not in ("consent", "no_text")),
        }
        self.counts["held_by"] = {**alone, **held}
        self.counts["texts_refused"] = dict(sorted(self.job.texts_refused.items(), key=lambda item: (-item[1], item[0])))
        drawn, self.counts["holdouts"] = customers - alone.get("erased", 0) - alone.get("profiling", 0), {}
        for item in self.book.contact.holdouts:  # each is drawn among those whom none before it took
            held_out = alone.get(f"holdout:{item.name}", 0)
            if self.memory and item.share:
                self.counts["holdouts"][item.name] = {"share": item.share, "customers": drawn, "held_out": held_out}
            drawn -= held_out

    def _report(self) -> None:
        self._summary()
        write_report(self.engine, self.book, self._record(), self.folder / "report.html")

    def _record(self) -> dict[str, Any]:
        files = [
            {
                "source": file.source,
                "file": file.path.name,
                "kind": file.kind,
                "encoding": file.encoding if file.kind != "parquet" else None,
                "delimiter": file.delimiter if file.kind != "parquet" else None,
                "sha256": digest,
            }
            for file, digest in zip(self.found.files, self.digests, strict=True)
        ]
        ignored = {name: list(columns) for name, columns in self.found.ignored_columns.items()}
        return {
            **{name: self.provenance[name] for name in ("as_of", "moment", "seed", "playbook", "models") if name in self.provenance},
            "workspace": {"name": self.workspace.name, "run_id": self.memory.run_id} if self.workspace and self.memory else None,
            "data": {**self.provenance["data"], "files": files, "unused_files": list(self.found.unused), "ignored_columns": ignored},
            "versions": {"nextbest": __version__, "duckdb": duckdb.__version__, "python": platform.python_version()},
            "counts": self.counts,
            "problems": self.reading.problems,
        }

    def _write_run(self) -> None:
        record = {**self._record(), "stages": self.timings}
        (self.folder / "run.json").write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
