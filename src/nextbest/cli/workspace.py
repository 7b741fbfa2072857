"""Commands over a workspace: consents, outcomes, customers' rights, the ledger."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

import nextbest as nb
from nextbest.cli.shared import Needed, Playbook, out, told
from nextbest.errors import Problem, UsageError
from nextbest.report import console as show

consent_app = typer.Typer(help="What customers agreed to.", no_args_is_help=True)
outcomes_app = typer.Typer(help="What became of the messages.", no_args_is_help=True)
customer_app = typer.Typer(help="One customer's rights.", no_args_is_help=True)
ledger_app = typer.Typer(help="The record of decisions.", no_args_is_help=True)

Actor = Annotated[str, typer.Option(envvar="USER", help="who notes it")]
Rejects = Annotated[Path | None, typer.Option(help="CSV file for rows that are left out, with the reason")]
Zone = Annotated[str, typer.Option(help="time zone of times that name none")]
Source = Annotated[str, typer.Option(help="where it comes from: the wording agreed to, a letter, a call")]


@consent_app.command("set")
def consent_set(
    customer: str,
    purpose: Annotated[str, typer.Argument(help="profiling, or a purpose of the playbook, e.g. marketing")],
    granted: Annotated[str, typer.Argument(help="yes or no")],
    workspace: Needed,
    channel: Annotated[str | None, typer.Option(help="only this channel [default: all]")] = None,
    source: Source = "",
    actor: Actor = "unknown",
) -> None:
    """Note what a customer said. A no holds at once."""
    with told():
        if granted not in ("yes", "no"):
            raise UsageError([Problem(granted, "is neither yes nor no", "write yes or no")])
        nb.consent(customer, purpose, granted == "yes", workspace=workspace, channel=channel, actor=actor, source=source)
        out.print("Noted.")


@consent_app.command("import")
def consent_import(file: Path, workspace: Needed, rejects: Rejects = None, time_zone: Zone = "UTC", actor: Actor = "unknown") -> None:
    """Read consents and refusals from a file: customer, purpose, granted, happened; channel, actor, source.

    Exit code 1: no row could be used.
    """
    with told():
        found = nb.import_consents(file, workspace=workspace, rejects=rejects, time_zone=time_zone, actor=actor)
        out.print(show.imported(found.rows, found.added, found.known, found.rejected, rejects))
    if found.useless:
        raise typer.Exit(1)


@outcomes_app.command("import")
def outcomes_import(file: Path, workspace: Needed, rejects: Rejects = None, time_zone: Zone = "UTC", actor: Actor = "unknown") -> None:
    """Read events from a file: event_id, event, happened, and decision_id, or customer and offer.

    Exit code 1: no row could be used.
    """
    with told():
        found = nb.import_outcomes(file, workspace=workspace, rejects=rejects, time_zone=time_zone, actor=actor)
        out.print(show.imported(found.rows, found.added, found.known, found.rejected, rejects))
    if found.useless:
        raise typer.Exit(1)


@outcomes_app.command("count")
def outcomes_count(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: a row per customer, such as `experiment assign` writes")],
    workspace: Needed,
    out_file: Annotated[Path, typer.Option("--out", help="a CSV or Parquet file: the same rows, with `messages` and the events' columns")],
    event: Annotated[
        list[str] | None, typer.Option(help="an answer that counts: clicked, opted_out, …; may be repeated [default: accepted]")
    ] = None,
    since: Annotated[str | None, typer.Option(help="the first day (UTC) of the messages that count [default: ever]")] = None,
    until: Annotated[str | None, typer.Option(help="the last day (UTC) of messages and answers [default: ever]")] = None,
    code: Annotated[str | None, typer.Option(help="the column of the customer's code [default: the first]")] = None,
) -> None:
    """What each customer of a file was sent and answered, for `nextbest experiment read`."""
    with told():
        found = nb.count_outcomes(
            file, out=out_file, workspace=workspace, events=event or ("accepted",), since=since, until=until, code=code
        )
        answered = ", ".join(f"{count} {name}" for name, count in found.answered.items())
        lines = [f"{found.customers} customers, {found.messages} messages, {answered}. Written: {found.path}"]
        if found.unknown:
            lines.append(f"{found.unknown} of them were never decided for in this workspace and count 0: check their codes.")
        if found.waiting:
            lines.append(f"Answers to {found.waiting} messages may still come.")
        for line in lines:
            out.print(line, highlight=False, soft_wrap=True)


@customer_app.command("export")
def customer_export(
    customer: str, workspace: Needed, file: Annotated[Path | None, typer.Option("--out", help="JSON file [default: the screen]")] = None
) -> None:
    """Everything that is kept about a customer, as JSON."""
    with told():
        found = json.dumps(nb.export_customer(customer, workspace=workspace), ensure_ascii=False, indent=2)
        if file is None:
            out.print(found, markup=False, highlight=False, soft_wrap=True)
        else:
            file.write_text(found + "\n", encoding="utf-8")
            out.print(f"Written to {file}", highlight=False)


@customer_app.command("erase")
def customer_erase(
    customer: str,
    workspace: Needed,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    reason: Annotated[str, typer.Option(help="kept in the ledger; name nobody here")] = "",
    actor: Actor = "unknown",
) -> None:
    """Take a customer out of everything, for good. The chain still verifies."""
    with told():
        if not yes:
            typer.confirm("This cannot be undone. Go on?", abort=True)
        count = nb.erase_customer(customer, workspace=workspace, actor=actor, reason=reason)
        out.print(f"Erased: {count} records emptied. The input files are not ours to change: take the customer out there too.")


@customer_app.command("suppress")
def customer_suppress(
    customer: str,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="the first day on which messages may go out again")],
    workspace: Needed,
    scope: Annotated[str, typer.Option(help="all, channel, category or offer")] = "all",
    what: Annotated[str | None, typer.Option(help="the channel, category or offer")] = None,
    source: Source = "",
    actor: Actor = "unknown",
) -> None:
    """Leave a customer in peace until a day."""
    with told():
        nb.suppress_customer(customer, until.date(), workspace=workspace, scope=scope, what=what, actor=actor, source=source)
        out.print("Noted.")


@ledger_app.command("verify")
def ledger_verify(
    workspace: Needed,
    head: Annotated[str | None, typer.Option(help="a head noted earlier, which must be in the chain")] = None,
) -> None:
    """Find any edit, gap or reorder. Exit code 1 where there is one."""
    with told():
        found = nb.verify(workspace, head)
        out.print(show.verified(found))
    if not found.whole:
        raise typer.Exit(1)


def replay(decision_id: Annotated[str, typer.Argument(help="from messages.parquet")], workspace: Needed) -> None:
    """Make a recorded decision again, byte for byte. Exit code 1 where it comes out otherwise or cannot be made."""
    with told():
        found = nb.replay(decision_id, workspace=workspace)
        out.print(show.replayed(found))
    if not found.same:
        raise typer.Exit(1)


def holdouts(
    customers: list[str],
    playbook: Playbook = "bank-kz",
    as_of: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="day of the holdouts' shares [default: today]")] = None,
) -> None:
    """Who of these customers is held out, and of what."""
    with told():
        for customer, names in nb.held_out(customers, as_of=as_of.date() if as_of else date.today(), playbook=playbook).items():
            out.print(f"{customer}: {', '.join(names) or 'not held out'}", markup=False, highlight=False)


def prune(
    workspace: Needed,
    playbook: Playbook = "bank-kz",
    as_of: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="[default: today]")] = None,
) -> None:
    """Empty what the playbook's retention no longer allows to keep."""
    with told():
        counts = nb.prune(workspace=workspace, playbook=playbook, as_of=as_of.date() if as_of else None)
        out.print("Emptied: " + ", ".join(f"{count} {name}" for name, count in counts.items()), highlight=False)
