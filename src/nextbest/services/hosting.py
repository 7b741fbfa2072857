"""Hosting: what a server keeps for each playbook it serves. Tables handed in, runs made of them, the run in force.

<folder>/<playbook>/tables/<source>/   files as they were handed in
<folder>/<playbook>/recognised/        what was recognised in each of them
<folder>/<playbook>/runs/<job>/        output folders of decide, with replies.db
<folder>/<playbook>/current            the name of the run in force
<folder>/<playbook>/approved/<sha256>/ the content of the playbook in force
"""

import io
import json
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
from filelock import FileLock
from sqlalchemy import select

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import DataError, NextbestError, Problem, StoreError, UsageError
from nextbest.intake.encoding import to_utf8
from nextbest.intake.files import find, source_of
from nextbest.intake.scan import parquet
from nextbest.plan import staging
from nextbest.plan.stage import quote
from nextbest.playbook.bind import bound
from nextbest.playbook.load import Loaded, load
from nextbest.playbook.model import Business
from nextbest.playbook.params import latest_start
from nextbest.run import Run
from nextbest.services import jobs
from nextbest.services.check import check
from nextbest.services.decide import decide
from nextbest.services.forgetting import without
from nextbest.services.kept_files import free_beside, safe_name, write_bounded
from nextbest.services.model_files import CARD
from nextbest.services.replybook import write_replybook
from nextbest.services.sealing import archived
from nextbest.store import tables
from nextbest.store.workspace import Workspace, now

KEPT_RUNS = 3


class _Stopped(Exception):
    """The job was cancelled, taken over, or the server goes down."""


@dataclass
class Host:
    """One playbook on a server. `source`: where its files are, to approve from. `models`: folders that `train` wrote."""

    name: str
    source: Path
    folder: Path
    workspace: Workspace
    models: tuple[Path, ...] = ()
    _day: tuple[Any, date | None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        (self.folder / "tables").mkdir(parents=True, exist_ok=True)
        (self.folder / "runs").mkdir(exist_ok=True)
        self.one_at_a_time = FileLock(self.folder / ".lock")

    # The playbook in force

    def approve(self, actor: str) -> Loaded:
        """Check the playbook's files as they are now, and put them in force. Raises PlaybookError with every problem."""
        check(self.source)
        loaded = load(self.source)
        if loaded.model.business.name != self.name:
            what = f"the playbook is now called {loaded.model.business.name}"
            raise UsageError([Problem(str(self.source), what, "serve it under that name, beside this one")])
        self.check_models(loaded)
        approved, known = tables.approved, tables.playbook
        with self.workspace.writing() as connection:
            if connection.execute(select(known.c.sha256).where(known.c.sha256 == loaded.hash)).first() is None:
                connection.execute(known.insert().values(sha256=loaded.hash, name=self.name, archive=archived(loaded)))
            connection.execute(approved.delete().where(approved.c.playbook == self.name))
            row = {"playbook": self.name, "sha256": loaded.hash, "happened": now(connection), "actor": actor}
            connection.execute(approved.insert().values(row))
        return loaded

    def approved_hash(self) -> str | None:
        """The content in force; None before the first approval."""
        with self.workspace.reading() as connection:
            return connection.execute(select(tables.approved.c.sha256).where(tables.approved.c.playbook == self.name)).scalar()

    def in_force(self) -> Loaded:
        """The playbook as approved; on first use, as its files are now."""
        sha256 = self.approved_hash()
        if sha256 is None:
            return self.approve("the server's start")
        folder = self.folder / "approved" / sha256
        if not folder.is_dir():
            with self.workspace.reading() as connection:
                archive = connection.execute(select(tables.playbook.c.archive).where(tables.playbook.c.sha256 == sha256)).scalar_one()
            scratch = Path(tempfile.mkdtemp(dir=self.folder))
            with zipfile.ZipFile(io.BytesIO(archive)) as files:
                files.extractall(scratch)
            folder.parent.mkdir(exist_ok=True)
            try:
                scratch.rename(folder)
            except OSError:  # another worker was first
                shutil.rmtree(scratch)
        return load(folder)

    def check_models(self, loaded: Loaded) -> None:
        """Raises UsageError for a model that does not fit the playbook."""
        if self.models:
            from nextbest.services.forecasts import forecasts  # what models need takes seconds to import

            forecasts(self.models, bound(loaded, latest_start(loaded.model)))

    def models_made(self) -> list[tuple[int, int]] | None:
        """Changes where a model was trained anew. None while one is not there."""
        with suppress(FileNotFoundError):
            return [(found.st_ino, found.st_mtime_ns) for found in ((folder / CARD).stat() for folder in self.models)]
        return None

    # Tables

    def table_of(self, name: str, path: Path) -> str:
        """The table that a file belongs to, by its `name` or else its columns. Raises UsageError, and DataError where it is none."""
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            named = Path(scratch) / safe_name(name)
            named.symlink_to(path.resolve())
            return source_of(named, self.in_force().model.business.sources)

    def hand_in(self, source: str, name: str, content: BinaryIO, most: int, append: bool = False) -> dict[str, Any]:
        """Keep a file as (part of) a table, and say what was recognised in it.

        Raises UsageError for an unknown table, a name that is no table file's or too large a file, DataError for what cannot be read.
        """
        sources = self.in_force().model.business.sources
        if source not in sources:
            raise UsageError([Problem(f"table {source[:40]}", "unknown", f"one of {', '.join(sources)}")])
        target = self.folder / "tables" / source
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            path = Path(scratch) / safe_name(name)
            write_bounded(content, path, most)
            found = find(None, {source: [path]}, {source: sources[source]})
            [file] = found.files
            said = {
                "table": source,
                "columns": dict(file.columns),
                "not_used": list(found.ignored_columns.get(source, ())),
                "encoding": file.encoding if file.kind != "parquet" else None,
                "bytes": path.stat().st_size,
            }
            with self.one_at_a_time:
                target.mkdir(parents=True, exist_ok=True)
                if not append:
                    self._empty(source)
                kept = path.replace(free_beside(target / path.name))
                said["file"] = kept.name
                self._recognised(source).mkdir(parents=True, exist_ok=True)
                (self._recognised(source) / f"{kept.name}.json").write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
        return said

    def handed_in(self) -> dict[str, list[str]]:
        """Table → its files."""
        root = self.folder / "tables"
        return {
            name: sorted(path.name for path in (root / name).iterdir()) if (root / name).is_dir() else []
            for name in self.in_force().model.business.sources
        }

    def take_out(self, source: str) -> list[str]:
        """Remove the files of a table; returns their names. Raises UsageError for an unknown table."""
        with self.one_at_a_time:
            files = self.handed_in()
            if source not in files:
                raise UsageError([Problem(f"table {source[:40]}", "unknown", f"one of {', '.join(files)}")])
            self._empty(source)
        return files[source]

    def recognised(self) -> list[dict[str, Any]]:
        """The files handed in, each with what was recognised in it (nothing, where it was handed in before that was kept)."""
        found = []
        for table, files in self.handed_in().items():
            for name in files:
                said = self._recognised(table) / f"{name}.json"
                own = self.folder / "tables" / table / name
                with suppress(FileNotFoundError):  # taken out meanwhile
                    nothing = {"table": table, "file": name, "columns": {}, "not_used": [], "bytes": own.stat().st_size}
                    found.append(json.loads(said.read_text(encoding="utf-8")) if said.exists() else nothing)
        return found

    def _recognised(self, source: str) -> Path:
        return self.folder / "recognised" / source

    def _empty(self, source: str) -> None:
        for folder in (self.folder / "tables" / source, self._recognised(source)):
            for old in folder.iterdir() if folder.is_dir() else ():
                old.unlink(missing_ok=True)

    # Runs

    @property
    def current(self) -> Path | None:
        """The output folder of the run in force; None before the first."""
        try:
            folder = self.folder / "runs" / (self.folder / "current").read_text()
        except FileNotFoundError:
            return None
        return folder if folder.is_dir() else None

    def run(self) -> Run:
        """The run in force. Raises UsageError before the first."""
        if self.current is None:
            raise UsageError([Problem(self.name, "nothing was decided yet", "hand in the tables, then start a job")])
        return Run(self.current)

    def work(self, job: jobs.JobState, stopping: threading.Event, lease: int) -> None:
        """Do a job: decide, make the replies, put the run in force. A cancelled job leaves nothing; a stopped one is given back."""
        beating = threading.Event()

        def go_on(stage: str | None = None, place: int = 0, stages: int = 0) -> None:
            if stopping.is_set() or not jobs.beat(self.workspace, job, lease, stage, place, stages):
                raise _Stopped

        def keep_lease() -> None:
            while not beating.wait(lease / 3):
                with suppress(StoreError):  # the next beat may get through
                    jobs.beat(self.workspace, job, lease)

        out = self.folder / "runs" / job.job_id
        keeper = threading.Thread(target=keep_lease, daemon=True)
        keeper.start()
        try:
            result = self._decide(job, out, go_on)
            go_on()
            self._put_in_force(job.job_id)  # before the job is done: whoever is killed in between does it again
            jobs.finish(self.workspace, job, result, [])
        except _Stopped:  # nothing to clear away: what stands at `out`, if anything does, is what another worker made
            jobs.give_back(self.workspace, job)
        except NextbestError as error:
            jobs.finish(self.workspace, job, None, error.problems)
        except Exception as error:
            jobs.finish(self.workspace, job, None, [Problem("server", f"failed ({type(error).__name__})", "look into the server's log")])
            raise
        finally:
            beating.set()

    def _decide(self, job: jobs.JobState, out: Path, go_on: Callable[..., None]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            tables = self._linked(Path(scratch))
            missing = [
                name
                for name, source in self.in_force().model.business.sources.items()
                if name not in tables and not (source.made_of or source.optional)
            ]
            if missing:
                raise DataError([Problem(name, f"no file for '{name}'", "hand in the table's file") for name in missing])
            run = decide(
                None,
                self.in_force().folder,
                tables=tables,
                as_of=job.asked["as_of"],
                at=job.asked.get("at"),
                out=out,
                workspace=self.workspace.place if job.asked.get("record") else None,
                replies=True,
                models=self.models,
                progress=go_on,
            )
        customers = run.record["counts"]["rows"][self.in_force().model.business.customers]
        if customers["kept"] == 0:
            shutil.rmtree(out)
            raise DataError([Problem("tables", "there is no customer in them", "hand in the customers table with its rows")])
        write_replybook(out)
        return {"counts": run.record["counts"], "problems": run.record["problems"], "as_of": run.record["as_of"]}

    def _linked(self, folder: Path) -> dict[str, list[Path]]:
        """The tables as they are now, linked into a folder: what is handed in meanwhile does not change them."""
        linked: dict[str, list[Path]] = {}
        with self.one_at_a_time:
            for name, files in self.handed_in().items():
                (folder / name).mkdir()
                for file in files:
                    own = self.folder / "tables" / name / file
                    try:
                        os.link(own, folder / name / file)
                    except OSError:  # a file system without links
                        shutil.copyfile(own, folder / name / file)
                    linked.setdefault(name, []).append(folder / name / file)
        return linked

    def last_day(self) -> date:
        """The last day with activity in the tables handed in; today where there is none. Raises DataError for what cannot be read."""
        business = self.in_force().model.business
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            files = self._linked(Path(scratch))
            known = tuple((str(path.stat().st_ino), path.stat().st_mtime_ns) for paths in files.values() for path in paths)
            if self._day is None or self._day[0] != known:
                self._day = known, self._last_day(business, files)
            return self._day[1] or datetime.now(UTC).date()

    def _last_day(self, business: Business, files: dict[str, list[Path]]) -> date | None:
        last = None
        dated = {name: business.sources[name] for name in files if any(c.type == "date" for c in business.sources[name].columns.values())}
        found = find(None, {name: files[name] for name in dated}, dated)
        with tempfile.TemporaryDirectory() as temp, DuckDBEngine(Path(temp)) as engine:
            for name, source in dated.items():
                column = next(column for column, item in source.columns.items() if item.type == "date")
                for scan, file in engine.scan([to_utf8(file, Path(temp)) for file in found.of(name)]):
                    today = "current_date + 1"  # a slip of the pen lies further ahead
                    rows = staging.read_rows(source, scan, file)
                    [(day,)] = engine.rows(f"select max(cast({quote(column)} as date)) from ({rows}) where {quote(column)} < {today}")
                    last = max(filter(None, (last, day)), default=None)
        return last

    def forget(self, customer: str) -> int:
        """Take a customer out of the outputs of every run kept; returns how many rows went."""
        with self.one_at_a_time:
            return sum(without(run, customer) for run in (self.folder / "runs").iterdir() if (run / "replies.db").is_file())

    def _put_in_force(self, job_id: str) -> None:
        scratch = self.folder / f".current-{job_id}"
        scratch.write_text(job_id)
        scratch.replace(self.folder / "current")
        runs = [path for path in (self.folder / "runs").iterdir() if (path / "replies.db").is_file()]
        runs.sort(key=lambda path: path.stat().st_mtime)
        for old in runs[:-KEPT_RUNS]:
            if old.name != job_id:
                shutil.rmtree(old, ignore_errors=True)


def usual_of(run: Run) -> dict[str, float | None]:
    """What was usual among the customers of a run."""
    names = list(run.book.model.features.population)
    if not names:
        return {}
    with duckdb.connect() as connection:
        listed = ", ".join(f'"{name}"' for name in names)
        row = connection.execute(f"select {listed} from {parquet(run.folder / 'features.parquet')} limit 1").fetchone()
    return dict(zip(names, row, strict=True)) if row else {}
