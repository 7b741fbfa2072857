"""Consents: what customers said about being scored and written to, with who noted it, when, and in which words."""

import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import Problem, UsageError
from nextbest.plan.stage import Stage
from nextbest.playbook.sources import Source, SourceColumn
from nextbest.services.incoming import NAME, code_of, incoming, rejected
from nextbest.settings import Settings
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace, now

SOURCE = Source(
    files=["*consents*"],
    columns={
        "customer": SourceColumn(type="id", names=["client_code", "customer_id", "client_id"], required=True),
        "purpose": SourceColumn(type="text", required=True),
        "channel": SourceColumn(type="text"),
        "granted": SourceColumn(type="flag", names=["consent"], required=True),
        "happened": SourceColumn(type="date", names=["at", "time", "timestamp", "date"], required=True),
        "actor": SourceColumn(type="text", names=["who"]),
        "source": SourceColumn(type="text", names=["wording"]),
    },
)

REJECTED = {
    "no_customer": "fill in the customer's code",
    "no_purpose": "name the purpose (profiling, or one of the playbook's contact.yaml), and a channel of the playbook or none",
    "unreadable_consent": "write yes or no",
    "bad_time": "write times as 2025-09-01T10:00:00, with a zone or in the zone named",
}
"""Why a row is left out → how to mend it."""


@dataclass(frozen=True)
class Imported:
    """What became of a file's rows."""

    rows: int
    added: int
    known: int
    rejected: dict[str, int]

    @property
    def useless(self) -> bool:
        """Whether no row could be used."""
        return 0 < self.rows == sum(self.rejected.values())


def consent(
    customer: str | int,
    purpose: str,
    granted: bool,
    *,
    workspace: str | Path,
    channel: str | None = None,
    happened: datetime | None = None,
    actor: str = "unknown",
    source: str = "",
) -> None:
    """Record what a customer said. A refusal holds at once: for the next decision, and for a run that goes on now.

    It outweighs whatever was recorded before it.
    `channel` None means all of them. A consent (not a refusal) that lies ahead counts from its time on.
    Raises UsageError for an empty name or a time without a zone, StoreError.
    """
    code, purpose, channel = code_of(customer), purpose.strip().lower(), (channel or "").strip().lower() or None
    for name, value in (("purpose", purpose), ("channel", channel)):
        if value is not None and not re.match(NAME, value):
            raise UsageError([Problem(name, "is not a name", "e.g. marketing, profiling; push, sms")])
    if not isinstance(granted, bool):
        raise UsageError([Problem("granted", "is neither True nor False", "pass True or False")])
    if happened is not None and (not isinstance(happened, datetime) or happened.tzinfo is None):
        raise UsageError([Problem("happened", "is no datetime with a time zone", "e.g. datetime.now(UTC)")])
    with Workspace(workspace) as store, store.writing() as connection:
        at = now(connection)
        said = int(happened.astimezone(UTC).timestamp()) if happened else at
        row = {"customer": code, "purpose": purpose, "channel": channel, "granted": granted, "happened": said}
        ledger.add_rows(connection, tables.consent, at, [{**row, "actor": actor, "source": source}])


def import_consents(
    file: str | Path, *, workspace: str | Path, rejects: str | Path | None = None, time_zone: str = "UTC", actor: str = "consent import"
) -> Imported:
    """Read a file of consents and refusals. A row that is there already is left as it is.

    Columns: customer, purpose, granted, happened; channel (empty: all), actor, source. Raises DataError, UsageError, StoreError.
    """
    with (
        tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp,
        DuckDBEngine(Path(temp)) as engine,
        Workspace(workspace) as store,
    ):
        incoming(engine, file, "said", SOURCE, Path(temp), time_zone)
        reason = (
            f"case when customer is null then 'no_customer' when not coalesce(regexp_matches(purpose, '{NAME}'), false) "
            f"or not coalesce(regexp_matches(channel, '{NAME}'), true) then 'no_purpose' "
            "when granted is null then 'unreadable_consent' when happened is null then 'bad_time' end"
        )
        small = "select * replace (lower(purpose) as purpose, lower(channel) as channel) from said"
        engine.create(Stage("checked", "one row of the file", f"select *, {reason} as reason from ({small})"))
        select_rejected = "select row, reason, as_written from checked where reason is not null"
        counts = rejected(engine, select_rejected, REJECTED, Path(rejects) if rejects else None)
        found = engine.rows(
            "select customer, purpose, channel, granted, happened, actor, source from checked where reason is null order by happened, row"
        )
        [(rows,)] = engine.rows("select (select count(*) from said) + (select count(*) from malformed)")
        with store.writing() as connection:
            c = tables.consent.c
            known = {tuple(row) for row in connection.execute(select(c.customer, c.purpose, c.channel, c.granted, c.happened))}
            fresh = [row for row in dict.fromkeys(found) if row[:5] not in known]
            named = [dict(zip(("customer", "purpose", "channel", "granted", "happened"), row[:5], strict=True)) for row in fresh]
            told = [{**item, "actor": row[5] or actor, "source": row[6] or ""} for item, row in zip(named, fresh, strict=True)]
            ledger.add_rows(connection, tables.consent, now(connection), told)
    return Imported(rows, len(fresh), rows - len(fresh) - sum(counts.values()), counts)
