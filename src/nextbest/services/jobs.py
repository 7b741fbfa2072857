"""Jobs: batch decisions asked of a server. What was asked for stays until it is done, whatever dies meanwhile.

A worker takes a job for as long as its lease runs and renews it while it works. A job whose lease has ended, because
its worker was killed, is taken by the next one; after too many attempts it has failed.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from nextbest.errors import Problem, UsageError
from nextbest.store.tables import job as table
from nextbest.store.workspace import Workspace, now

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"


@dataclass(frozen=True)
class JobState:
    """A job as its asker sees it. `place` of `stages`: how far it is. Times are seconds since 1970."""

    job_id: str
    playbook: str
    asked: dict[str, Any]
    state: str
    stage: str | None
    place: int
    stages: int
    attempt: int
    created: int
    finished: int | None
    problems: list[dict[str, str]]
    result: dict[str, Any] | None


def submit(workspace: Workspace, playbook: str, asked: dict[str, Any], request_key: str | None = None) -> JobState:
    """Keep a job to be done. The same `request_key` again finds the job that it made before. Raises StoreError."""
    with workspace.writing() as connection:
        if request_key is not None:
            known = connection.execute(select(table).where(table.c.request_key == request_key)).one_or_none()
            if known is not None:
                return _state(known)
        row = {
            "job_id": secrets.token_hex(8), "request_key": request_key, "playbook": playbook, "asked": json.dumps(asked), "state": WAITING,
            "place": 0, "stages": 0, "attempt": 0, "cancelling": False, "created": now(connection),
        }  # fmt: skip
        connection.execute(table.insert().values(row))
        return _one(connection, str(row["job_id"]))


def get(workspace: Workspace, job_id: str) -> JobState:
    """One job. Raises UsageError for an unknown one."""
    with workspace.reading() as connection:
        return _one(connection, job_id)


def latest(workspace: Workspace, playbooks: Iterable[str], limit: int = 50) -> list[JobState]:
    """The latest jobs of these playbooks, newest first."""
    with workspace.reading() as connection:
        rows = select(table).where(table.c.playbook.in_(list(playbooks))).order_by(table.c.created.desc(), table.c.job_id).limit(limit)
        return [_state(row) for row in connection.execute(rows)]


def claim(workspace: Workspace, playbooks: Iterable[str], lease: int, attempts: int = 5) -> JobState | None:
    """Take the next job of these playbooks, for the length of a lease (seconds). After so many attempts that died it has failed."""
    own = table.c.playbook.in_(list(playbooks))
    with workspace.reading() as connection:  # most looks find nothing, and a look holds nobody up
        if connection.execute(select(func.count()).where(own, table.c.state.in_([WAITING, RUNNING]))).scalar_one() == 0:
            return None
    with workspace.writing() as connection:
        at = now(connection)
        open_ = or_(table.c.state == WAITING, and_(table.c.state == RUNNING, table.c.lease_until <= at))
        found = connection.execute(select(table).where(own, open_).order_by(table.c.created, table.c.job_id).limit(1)).one_or_none()
        if found is None:
            return None
        if found.cancelling or found.attempt >= attempts:
            gave_up = [{"where": "job", "what": f"its worker died {found.attempt} times", "fix": "look into the server's log"}]
            state, problems = (CANCELLED, []) if found.cancelling else (FAILED, gave_up)
            _set(connection, found.job_id, state=state, finished=at, lease_until=None, problems=json.dumps(problems))
            return None
        _set(connection, found.job_id, state=RUNNING, attempt=found.attempt + 1, lease_until=at + lease, place=0, stage=None)
        return _one(connection, found.job_id)


def beat(workspace: Workspace, job: JobState, lease: int, stage: str | None = None, place: int = 0, stages: int = 0) -> bool:
    """Renew the lease and note the progress; whether to go on: not if the job was cancelled or taken over."""
    with workspace.writing() as connection:
        found = connection.execute(select(table).where(table.c.job_id == job.job_id)).one()
        if found.state != RUNNING or found.attempt != job.attempt or found.cancelling:
            return False
        progress = {"stage": stage, "place": place, "stages": stages} if stage is not None else {}
        _set(connection, job.job_id, lease_until=now(connection) + lease, **progress)
        return True


def give_back(workspace: Workspace, job: JobState) -> None:
    """Stop working at a job that another worker shall do; a cancelled one is done with."""
    with workspace.writing() as connection:
        found = connection.execute(select(table).where(table.c.job_id == job.job_id)).one()
        if found.state == RUNNING and found.attempt == job.attempt:
            if found.cancelling:
                _set(connection, job.job_id, state=CANCELLED, finished=now(connection), lease_until=None)
            else:
                _set(connection, job.job_id, state=WAITING, attempt=found.attempt - 1, lease_until=None)


def finish(workspace: Workspace, job: JobState, result: dict[str, Any] | None, problems: list[Problem]) -> bool:
    """Note how a job ended: well with a result, badly with problems; whether it was still this worker's."""
    with workspace.writing() as connection:
        found = connection.execute(select(table).where(table.c.job_id == job.job_id)).one()
        if found.state != RUNNING or found.attempt != job.attempt:
            return False
        told = json.dumps([asdict(problem) for problem in problems], ensure_ascii=False)
        said = json.dumps(result, ensure_ascii=False) if result is not None else None
        state = DONE if result is not None else FAILED
        _set(connection, job.job_id, state=state, finished=now(connection), lease_until=None, problems=told, result=said)
        return True


def cancel(workspace: Workspace, job_id: str) -> JobState:
    """Ask a job to stop: at once where it waits, at its next stage where it runs. Raises UsageError for an unknown one."""
    with workspace.writing() as connection:
        found = _one(connection, job_id)
        if found.state == WAITING:
            _set(connection, job_id, state=CANCELLED, cancelling=True, finished=now(connection))
        elif found.state == RUNNING:
            _set(connection, job_id, cancelling=True)
        return _one(connection, job_id)


def _set(connection: Connection, job_id: str, **values: Any) -> None:
    connection.execute(update(table).where(table.c.job_id == job_id).values(**values))


def _one(connection: Connection, job_id: str) -> JobState:
    found = connection.execute(select(table).where(table.c.job_id == job_id)).one_or_none()
    if found is None:
        raise UsageError([Problem(f"job {job_id[:40]}", "no such job", "take the id from the answer to its submission")])
    return _state(found)


def _state(row: Row[Any]) -> JobState:
    return JobState(
        job_id=row.job_id,
        playbook=row.playbook,
        asked=json.loads(row.asked),
        state=row.state,
        stage=row.stage,
        place=row.place,
        stages=row.stages,
        attempt=row.attempt,
        created=row.created,
        finished=row.finished,
        problems=json.loads(row.problems or "[]"),
        result=json.loads(row.result) if row.result else None,
    )
