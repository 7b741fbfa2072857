"""Next best offers. Exit codes: 0 done, 1 found faults, 2 usage, 3 playbook, 4 data, 5 workspace."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

import nextbest as nb
from nextbest.cli import learning as learning_commands
from nextbest.cli import measuring as measuring_commands
from nextbest.cli import server as server_commands
from nextbest.cli import workspace as workspace_commands
from nextbest.cli.shared import Playbook, Workspace, bar, out, told
from nextbest.errors import Problem, UsageError
from nextbest.report import console as show

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
playbook_app = typer.Typer(help="Start and describe playbooks.", no_args_is_help=True)
app.add_typer(playbook_app, name="playbook")
app.add_typer(workspace_commands.consent_app, name="consent")
app.add_typer(workspace_commands.outcomes_app, name="outcomes")
app.add_typer(workspace_commands.customer_app, name="customer")
app.add_typer(workspace_commands.ledger_app, name="ledger")
app.add_typer(server_commands.key_app, name="key")
app.add_typer(measuring_commands.experiment_app, name="experiment")
app.command()(server_commands.serve)
for command in (
    workspace_commands.replay,
    workspace_commands.holdouts,
    workspace_commands.prune,
    *learning_commands.COMMANDS,
    measuring_commands.segments,
    measuring_commands.uplift,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(nb.__version__)
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
    model: Annotated[list[Path] | None, typer.Option(help="a folder that `train` wrote, whose forecasts rules may name")] = None,
    seed: Annotated[int, typer.Option(help="recorded with the run; nothing is drawn by chance yet")] = 0,
) -> None:
    """Decide for every customer: offers, reasons, benefit and message."""
    with told():
        tables = _tables(table or [])
        if data is None and not tables:
            raise UsageError([Problem("decide", "no data", "name a folder, or --table NAME=PATH for each table")])
        with bar() as report:
            run = nb.decide(
                data,
                playbook,
                as_of=as_of,
                out=out_folder,
                tables=tables,
                workspace=workspace,
                at=at,
                seed=seed,
                models=model or (),
                progress=report,
            )
        out.print(show.summary(run))
        parquet = ", ".join(f"{name}.parquet" for name in ("decisions", "messages", "features", "rejects"))
        out.print(f"Written to {out_folder}: recommendations.csv, {parquet}, report.html, run.json", highlight=False)


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
    with told():
        out.print(show.explanation(nb.explain(run, client, language)))


@app.command()
def lint(
    file: Annotated[Path, typer.Argument(help="CSV with a column push_notification, message or text")],
    voice: Annotated[str, typer.Option(help="language of the voice")] = "ru",
    channel: Annotated[str, typer.Option(help="push, app, sms or email")] = "push",
    playbook: Playbook = "bank-kz",
    column: Annotated[str | None, typer.Option(help="the column that holds the texts")] = None,
) -> None:
    """Check anyone's texts against the editorial rules. Exit code 1 where a text breaks one."""
    with told():
        result = nb.lint(file, voice=voice, channel=channel, playbook=playbook, column=column)
        out.print(show.lint_result(result))
    if not result.clean:
        raise typer.Exit(1)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="an output folder of decide")],
    reference: Annotated[Path, typer.Option(help="CSV with client_code,product")],
) -> None:
    """The bank case's 40-point scale: product by its place in the Top-4, message by the linter."""
    with told():
        out.print(show.score_result(nb.score(run, reference=reference)))


@app.command()
def check(playbook: Annotated[str, typer.Argument(help="a built-in playbook's name, or a folder")] = "bank-kz") -> None:
    """Validate a playbook, all problems at once, and run its worked examples."""
    with told():
        found = nb.check(playbook)
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
    with told():
        folder = nb.synth(customers, out=out_folder, seed=seed, format=format, rows_per_customer=rows, playbook=playbook)
        out.print(f"Written to {folder}", highlight=False)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="the playbook in force")],
    new: Annotated[str, typer.Argument(help="the playbook to be approved")],
    data: Annotated[Path, typer.Argument(help="folder with the tables")],
    as_of: Annotated[str, typer.Option(help="the day decided for")],
    out_folder: Annotated[Path, typer.Option("--out", help="for diff.html and changes.parquet")],
) -> None:
    """What a change of playbook does to the same customers: whose offer, text and benefit changes."""
    with told():
        with bar() as report:
            found = nb.diff(old, new, data, as_of=as_of, out=out_folder, progress=report)
        out.print(show.difference(found))
        out.print(f"Written to {out_folder}: diff.html, changes.parquet", highlight=False)


@playbook_app.command("copy")
def playbook_copy(source: str, folder: Path) -> None:
    """Copy a playbook to a new folder, to start your own."""
    with told():
        out.print(f"Copied to {nb.copy(source, folder)}. Edit it, then: nextbest check {folder}", highlight=False)


@playbook_app.command("schema")
def playbook_schema(folder: Annotated[Path, typer.Option("--out", help="where the JSON schemas go")]) -> None:
    """Write the JSON schemas of the playbook's files, for an editor to check against."""
    with told():
        from nextbest.services.schema import schema

        for path in schema(folder):
            out.print(str(path), highlight=False)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="where data and results go")] = Path("demo"),
    customers: Annotated[int, typer.Option(help="how many")] = 60,
) -> None:
    """A synthetic bank, the whole job, a table of results, one customer explained."""
    with told():
        data, results = folder / "data", folder / "out"
        nb.synth(customers, out=data, seed=1, rows_per_customer=240)
        with bar() as report:
            run = nb.decide(data, "bank-kz", as_of="2025-08-31", out=results, progress=report)
        out.print(show.summary(run, rows=5))
        out.print(show.explanation(nb.explain(results, str(run.recommendations.iloc[0, 0]))))
        out.print(
            f"\nData: {data}\nRecommendations: {results / 'recommendations.csv'}\nReport, open it in a browser: {results / 'report.html'}\n"
            f"Any other client: nextbest explain {results} 2",
            highlight=False,
        )
