"""What customers say and what became of contacts: outcomes, consents, suppressions, erasure."""

import csv
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from nextbest.errors import DataError, Problem, UsageError
from nextbest.services.consents import consent
from nextbest.services.customers import erase_customer, export_customer, suppress_customer
from nextbest.services.outcomes import REJECTED, import_outcomes
from nextbest.web.api.access import Admin, At, Operator
from nextbest.web.api.shapes import ConsentRequest, OutcomeRequest, OutcomesReply, SuppressionRequest

router = APIRouter(prefix="/v1", tags=["customers"])
MOST_EVENTS = 10_000


@router.post("/outcomes", summary="What became of contacts")
def outcomes(at: At, key: Operator, events: Annotated[list[OutcomeRequest], Body(min_length=1, max_length=MOST_EVENTS)]) -> OutcomesReply:
    """An event that is there already is left as it is, so that the same request may be sent again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(OutcomeRequest.model_fields))
            writer.writeheader()
            writer.writerows(_row(event) for event in events)
        found = import_outcomes(path, workspace=at.workspace.place, actor=f"key {key.key_id}")
    if found.rejected and found.added + found.known == 0 and found.opted_out == 0:
        raise DataError([Problem("events", f"{count} {reason}", REJECTED.get(reason, "")) for reason, count in found.rejected.items()])
    return OutcomesReply(rows=found.rows, added=found.added, known=found.known, opted_out=found.opted_out, rejected=found.rejected)


def _row(event: OutcomeRequest) -> dict[str, Any]:
    zoned = event.happened if event.happened.tzinfo else event.happened.astimezone()
    return {**event.model_dump(), "happened": zoned.isoformat(timespec="seconds")}


@router.post("/customers/{customer}/consents", status_code=204, summary="What a customer said about a purpose")
def consents(at: At, key: Operator, customer: str, said: ConsentRequest) -> Response:
    """A refusal holds at once, for stored decisions too: within a second on every worker."""
    known = {name for desk in at.desks.values() for name in desk.loaded.model.contact.purposes} | {"profiling"}
    if said.purpose not in known:  # it would hold nothing back
        raise UsageError([Problem("body.purpose", "is no purpose of a playbook served here", f"one of {', '.join(sorted(known))}")])
    happened = said.happened.astimezone() if said.happened else None
    consent(
        customer, said.purpose, said.granted, workspace=at.workspace.place, channel=said.channel, happened=happened,
        actor=f"key {key.key_id} ({key.name})", source=said.source,
    )  # fmt: skip
    at.look()
    return Response(status_code=204)


@router.post("/customers/{customer}/suppressions", status_code=204, summary="Leave a customer in peace until a day")
def suppressions(at: At, key: Operator, customer: str, asked: SuppressionRequest) -> Response:
    """By everything, or by one channel, category or offer."""
    actor = f"key {key.key_id} ({key.name})"
    suppress_customer(
        customer, asked.until, workspace=at.workspace.place, scope=asked.scope, what=asked.what, actor=actor, source=asked.source
    )
    at.look()
    return Response(status_code=204)


@router.get("/customers/{customer}", summary="Everything that the workspace holds about a customer")
def export(at: At, key: Admin, customer: str) -> dict[str, Any]:
    """Decisions with inputs and verdicts, consents, suppressions, outcomes."""
    return export_customer(customer, workspace=at.workspace.place)


@router.delete("/customers/{customer}", summary="Erase a customer for good")
def erase(at: At, key: Admin, customer: str, reason: str = "") -> dict[str, int]:
    """Out of every table and every record; the stored decision is not given any more. The ledger still verifies."""
    rows = sum(desk.host.forget(customer) for desk in at.desks.values())
    actor = f"key {key.key_id} ({key.name})"
    emptied = erase_customer(customer, workspace=at.workspace.place, actor=actor, reason=reason, known_elsewhere=rows > 0)
    at.look()
    return {"records_emptied": emptied, "rows_removed": rows}
