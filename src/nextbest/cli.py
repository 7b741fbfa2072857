"""The command line: one command, one service call. Exit codes: 0 done, 1 found faults, 2 usage, 3 playbook, 4 data."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nextbest import __version__
from nextbest.errors import NextbestError, Problem, UsageError
from nextbest.report import console as show
from nextbest.run import Run
from nextbest.services import check as check_service
from nextbest.services.decide import Progress as Report
from nextbest.services.decide import day_of
from nextbest.services.decide import decide as decide_service
from nextbest.services.explain import explain as explain_service
from nextbest.services.lint import lint as lint_service
from nextbest.services.schema import schema as schema_service
from nextbest.services.score import score as score_service
from nextbest.services.synth import synth as synth_service

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
playbook_app = typer.Typer(help="Start and describe playbooks.", no_args_is_help=True)
app.add_typer(playbook_app, name="playbook")
out, err = Console(), Console(stderr=True)

Playbook = Annotated[str, typer.Option("--playbook", "-p", help="a built-in playbook's name, or a folder")]
Workspace = Annotated[
    str | None, typer.Option("--workspace", "-w", envvar="NEXTBEST_WORKSPACE", help="folder or postgresql:// URL; made on first use")
]


@contextmanager
def _told() -> Iterator[None]:
    """Errors that a user can mend are shown in full, without a traceback, with their exit code."""
    try:
        yield
    except NextbestError as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
    except (KeyboardInterrupt, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "interrupted" not in str(error).lower():
            raise
        err.print("Stopped; nothing was written.", style="red")
        raise typer.Exit(130) from None


@contextmanager
def _bar() -> Iterator[Report]:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("starting", total=None)

        def report(title: str, place: int, of: int) -> None:
            progress.update(task, description=title, completed=place, total=of)

        yield report


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Nextbest: the next best offer for every customer."""


@app.command()
def decide(
    as_of: Annotated[str, typer.Option(help="the day decided for, e.g. 2025-08-31")],
    out_folder: Annotated[Path, typer.Option("--out", help="output folder; an earlier run's is replaced")],
    data: Annotated[Path | None, typer.Argument(help="folder with the tables")] = None,
    playbook: Playbook = "bank-kz",
    table: Annotated[list[str] | None, typer.Option(help="a table's file, NAME=PATH; may be repeated")] = None,
    workspace: Workspace = None,
    at: Annotated[str | None, typer.Option(help="from when messages may go out, e.g. 2025-09-01T10:00 [default: the day after]")] = None,
    seed: Annotated[int, typer.Option(help="recorded with the run; nothing is drawn by chance yet")] = 0,
) -> None:
    """Decide for every customer: offers, reasons, benefit and message."""
    with _told():
        day, tables = day_of(as_of), _tables(table or [])
        if data is None and not tables:
            raise UsageError([Problem("decide", "no data", "name a folder, or --table NAME=PATH for each table")])
        with _bar() as report:
            run = decide_service(
                data, playbook, as_of=day, out=out_folder, tables=tables, workspace=workspace, at=at, seed=seed, progress=report
            )
        out.print(show.summary(run))
        out.print(
            f"Written to {out_folder}: recommendations.csv, decisions.parquet, report.html, rejects.parquet, run.json", highlight=False
        )


def _tables(given: list[str]) -> dict[str, str | Path | Iterable[str | Path]]:
    tables: dict[str, list[str | Path]] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals:
            raise UsageError([Problem(f"--table {item}", "not NAME=PATH", "e.g. --table clients=data/clients.csv")])
        tables.setdefault(name, []).append(path)
    return {**tables}


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="an output folder of decide")],
    client: Annotated[str, typer.Argument(help="the customer's code")],
    language: Annotated[str | None, typer.Option(help="language of offers and reasons")] = None,
) -> None:
    """One customer: every offer's path, why the first, why not the others, what would change it."""
    with _told():
        out.print(show.explanation(explain_service(run, client, language)))


@app.command()
def lint(
    file: Annotated[Path, typer.Argument(help="CSV with a column push_notification, message or text")],
    voice: Annotated[str, typer.Option(help="language of the voice")] = "ru",
    channel: Annotated[str, typer.Option(help="push, app, sms or email")] = "push",
    playbook: Playbook = "bank-kz",
    column: Annotated[str | None, typer.Option(help="the column that holds the texts")] = None,
) -> None:
    """Check anyone's texts against the editorial rules. Exit code 1 where a text breaks one."""
    with _told():
        result = lint_service(file, voice=voice, channel=channel, playbook=playbook, column=column)
        out.print(show.lint_result(result))
    if not result.clean:
        raise typer.Exit(1)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="an output folder of decide")],
    reference: Annotated[Path, typer.Option(help="CSV with client_code,product")],
) -> None:
    """The bank case's 40-point scale: product by its place in the Top-4, message by the linter."""
    with _told():
        out.print(show.score_result(score_service(run, reference=reference)))


@app.command()
def check(playbook: Annotated[str, typer.Argument(help="a built-in playbook's name, or a folder")] = "bank-kz") -> None:
    """Validate a playbook, all problems at once, and run its worked examples."""
    with _told():
        found = check_service.check(playbook)
        out.print(
            f"{found.name}: {found.offers} offers, {found.signals} signals, {found.features} features; {found.examples} examples pass",
            highlight=False,
        )


@app.command()
def synth(
    out_folder: Annotated[Path, typer.Option("--out", help="output folder")],
    customers: Annotated[int, typer.Option(help="how many")] = 60,
    seed: Annotated[int, typer.Option(help="the same seed makes the same bank")] = 0,
    format: Annotated[str, typer.Option(help="csv or parquet")] = "csv",
    rows: Annotated[int, typer.Option(help="activity rows per customer, both tables together")] = 120,
    playbook: Playbook = "bank-kz",
) -> None:
    """Make a synthetic bank of any size, with the known truth beside it."""
    with _told():
        folder = synth_service(customers, out=out_folder, seed=seed, format=format, rows_per_customer=rows, playbook=playbook)
        out.print(f"Written to {folder}", highlight=False)


@playbook_app.command("copy")
def playbook_copy(source: str, folder: Path) -> None:
    """Copy a playbook to a new folder, to start your own."""
    with _told():
        out.print(f"Copied to {check_service.copy(source, folder)}. Edit it, then: nextbest check {folder}", highlight=False)


@playbook_app.command("schema")
def playbook_schema(folder: Annotated[Path, typer.Option("--out", help="where the JSON schemas go")]) -> None:
    """Write the JSON schemas of the playbook's files, for an editor to check against."""
    with _told():
        for path in schema_service(folder):
            out.print(str(path), highlight=False)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="where data and results go")] = Path("demo"),
    customers: Annotated[int, typer.Option(help="how many")] = 60,
) -> None:
    """A synthetic bank, the whole job, a table of results, one customer explained."""
    with _told():
        data, results = folder / "data", folder / "out"
        synth_service(customers, out=data, seed=1, rows_per_customer=240)
        with _bar() as report:
            run: Run = decide_service(data, "bank-kz", as_of="2025-08-31", out=results, progress=report)
        out.print(show.summary(run, rows=5))
        out.print(show.explanation(explain_service(results, str(run.recommendations.client_code.iloc[0]))))
        out.print(
            f"\nData: {data}\nRecommendations: {results / 'recommendations.csv'}\nReport, open it in a browser: {results / 'report.html'}\n"
            f"Any other client: nextbest explain {results} 2",
            highlight=False,
        )
