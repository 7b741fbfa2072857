"""Batch: tables in, a job, its progress, and what came out."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, UploadFile
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from nextbest.services import jobs
from nextbest.services.exports import TABLES, export, segments, statistics
from nextbest.web.api.access import At, At_desk, Caller, Operator, Viewer
from nextbest.web.api.errors import Refused
from nextbest.web.api.files import KINDS, said_of, sent
from nextbest.web.api.shapes import HandedIn, JobReply, JobRequest
from nextbest.web.serving import Serving

router = APIRouter(prefix="/v1", tags=["batch"])
_POLL_SECONDS = 0.3


@router.put("/playbooks/{playbook}/tables/{table}", summary="Hand in a table's file")
def hand_in(at: At, desk: At_desk, key: Operator, table: str, file: UploadFile, append: bool = False) -> HandedIn:
    """CSV (any delimiter and encoding), gzip or Parquet. It takes the place of what was there, or is added to it."""
    return HandedIn(**desk.host.hand_in(table, file.filename or "", file.file, at.settings.most_bytes, append))


@router.get("/playbooks/{playbook}/tables", summary="The files handed in")
def handed_in(desk: At_desk, key: Viewer) -> dict[str, list[str]]:
    """Table → names of its files."""
    return desk.host.handed_in()


@router.delete("/playbooks/{playbook}/tables/{table}", summary="Remove the files of a table")
def take_out(desk: At_desk, key: Operator, table: str) -> dict[str, list[str]]:
    """What was decided from them stays."""
    return {"removed": desk.host.take_out(table)}


@router.post("/playbooks/{playbook}/jobs", status_code=202, summary="Decide for everyone in the tables handed in")
def start(
    at: At, desk: At_desk, key: Operator, asked: JobRequest, idempotency_key: Annotated[str | None, Header(max_length=150)] = None
) -> JobReply:
    """Answers at once; the job is kept until it is done. The same Idempotency-Key finds the job that it made before."""
    day = (asked.as_of or datetime.now(UTC).date()).isoformat()
    wanted = {"as_of": day, "at": asked.at.isoformat() if asked.at else None, "record": asked.record}
    own = f"{key.key_id}:{desk.host.name}:{idempotency_key}" if idempotency_key else None
    return JobReply(**asdict(jobs.submit(at.workspace, desk.host.name, wanted, own)))


@router.get("/jobs", summary="The latest jobs")
def latest(at: At, key: Caller) -> list[JobReply]:
    """Of the playbooks that the key opens, newest first."""
    return [JobReply(**asdict(job)) for job in jobs.latest(at.workspace, [name for name in at.desks if key.may("viewer", name)])]


@router.get("/jobs/{job_id}", summary="One job")
def one(at: At, key: Caller, job_id: str) -> JobReply:
    """How far it is, or how it ended."""
    return JobReply(**asdict(_opened(at, key, job_id, "viewer")))


@router.delete("/jobs/{job_id}", summary="Cancel a job")
def cancel(at: At, key: Caller, job_id: str) -> JobReply:
    """A waiting job is cancelled at once, a running one at its next stage. It leaves nothing."""
    _opened(at, key, job_id, "operator")
    return JobReply(**asdict(jobs.cancel(at.workspace, job_id)))


@router.get("/jobs/{job_id}/events", summary="A job's progress as server-sent events", **said_of("text/event-stream"))
async def events(at: At, key: Caller, job_id: str) -> StreamingResponse:
    """An event at each stage, and one when the job has ended."""
    await run_in_threadpool(_opened, at, key, job_id, "viewer")

    async def told() -> AsyncIterator[str]:
        last = None
        while not at.stopping.is_set():
            job = await run_in_threadpool(jobs.get, at.workspace, job_id)
            if job != last:
                event = "progress" if job.finished is None else "end"
                yield f"event: {event}\ndata: {json.dumps(asdict(job), ensure_ascii=False)}\n\n"
                last = job
            if job.finished is not None:
                return
            await asyncio.sleep(_POLL_SECONDS)

    return StreamingResponse(told(), media_type="text/event-stream")


@router.get("/playbooks/{playbook}/statistics", summary="What the run in force came to")
def stats(desk: At_desk, key: Viewer) -> dict[str, Any]:
    """Counts of customers and rows, offers by how many get them first, confidence, odd rows."""
    return statistics(desk.host.run())


@router.get("/playbooks/{playbook}/segments", summary="The segments, with size and the offers that come first in them")
def of_segments(desk: At_desk, key: Viewer) -> list[dict[str, Any]]:
    """Each declared segment over the customers of the run in force."""
    return segments(desk.host.run())


@router.get("/playbooks/{playbook}/exports/{table}", summary="A table of the run in force as a file", **said_of(*KINDS))
def exported(
    desk: At_desk, key: Viewer, table: str, format: Annotated[Literal["csv", "parquet", "xlsx"], Query()] = "csv"
) -> StreamingResponse:
    """recommendations, decisions, messages or rejects. Cells that a spreadsheet would take for formulas are quoted."""
    if table not in TABLES:
        raise Refused(404, "table", "no such export", f"one of {', '.join(TABLES)}")
    path = export(desk.host.run(), table, format, desk.left_out(table))
    return sent(path, f"{desk.host.name}-{table}.{format}")


def _opened(at: Serving, key: Any, job_id: str, role: str) -> jobs.JobState:
    """A job of a playbook that the key opens; any other is not there for it."""
    job = jobs.get(at.workspace, job_id)
    if not key.may("viewer", job.playbook):
        raise Refused(404, f"job {job_id[:40]}", "no such job")
    if not key.may(role, job.playbook):
        raise Refused(403, "key", f"its role is {key.role}", f"needs {role}")
    return job
