"""Jobs in the workspace: done once, by one worker, whatever dies meanwhile."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from nextbest.errors import Problem, UsageError
from nextbest.services import jobs
from nextbest.services.keys import create_key, digest, known_keys, list_keys, revoke_key
from nextbest.store.workspace import Workspace


@pytest.fixture
def store(place):
    with Workspace(place) as found:
        yield found


def test_a_job_is_taken_by_one_worker_only(store):
    asked = [jobs.submit(store, "bank", {"n": n}).job_id for n in range(6)]
    with ThreadPoolExecutor(4) as pool:
        taken = [job.job_id for job in pool.map(lambda _: jobs.claim(store, ["bank"], 60), range(12)) if job]
    assert sorted(taken) == sorted(asked)


def test_the_oldest_goes_first_and_only_of_the_playbooks_served(store):
    first, other = jobs.submit(store, "bank", {}), jobs.submit(store, "shop", {})
    assert jobs.claim(store, ["shop"], 60).job_id == other.job_id
    assert jobs.claim(store, ["bank"], 60).job_id == first.job_id
    assert jobs.claim(store, ["bank", "shop"], 60) is None


def test_the_same_request_is_the_same_job(store):
    first = jobs.submit(store, "bank", {}, "key")
    assert jobs.submit(store, "bank", {"other": 1}, "key").job_id == first.job_id
    assert jobs.submit(store, "bank", {}, "another").job_id != first.job_id


def test_a_worker_that_died_loses_its_job_when_the_lease_ends(store, monkeypatch):
    jobs.submit(store, "bank", {})
    dead = jobs.claim(store, ["bank"], 60)
    assert jobs.claim(store, ["bank"], 60) is None
    monkeypatch.setattr("time.time", lambda: dead.created + 61)
    taken = jobs.claim(store, ["bank"], 60)
    assert (taken.job_id, taken.attempt) == (dead.job_id, 2)
    assert not jobs.beat(store, dead, 60)  # the dead one, should it be alive after all, has to stop
    assert not jobs.finish(store, dead, {"by": "the dead"}, [])
    assert jobs.finish(store, taken, {"by": "the second"}, [])
    assert jobs.get(store, taken.job_id).result == {"by": "the second"}


def test_a_job_that_kills_its_workers_has_failed(store, monkeypatch):
    job = jobs.submit(store, "bank", {})
    for attempt in range(5):
        monkeypatch.setattr("time.time", lambda attempt=attempt: job.created + 100 * (attempt + 1))
        assert jobs.claim(store, ["bank"], 60).attempt == attempt + 1
    monkeypatch.setattr("time.time", lambda: job.created + 10_000)
    assert jobs.claim(store, ["bank"], 60) is None
    assert jobs.get(store, job.job_id).state == "failed" and "died" in jobs.get(store, job.job_id).problems[0]["what"]


def test_cancelling(store):
    waiting, running = jobs.submit(store, "bank", {}), jobs.submit(store, "bank", {})
    assert jobs.cancel(store, waiting.job_id).state == "cancelled"
    taken = jobs.claim(store, ["bank"], 60)
    assert taken.job_id == running.job_id and jobs.beat(store, taken, 60, "reading", 1, 9)
    assert jobs.cancel(store, running.job_id).state == "running"
    assert not jobs.beat(store, taken, 60)
    jobs.give_back(store, taken)
    assert jobs.get(store, running.job_id).state == "cancelled"
    with pytest.raises(UsageError):
        jobs.cancel(store, "none")


def test_a_job_given_back_waits_for_the_next_worker(store):
    jobs.submit(store, "bank", {})
    jobs.give_back(store, jobs.claim(store, ["bank"], 60))
    assert jobs.claim(store, ["bank"], 60).attempt == 1


def test_progress_and_failure_are_told(store):
    jobs.submit(store, "bank", {"as_of": "2025-08-31"})
    job = jobs.claim(store, ["bank"], 60)
    jobs.beat(store, job, 60, "scoring offers", 7, 12)
    now = jobs.get(store, job.job_id)
    assert (now.stage, now.place, now.stages, now.asked) == ("scoring offers", 7, 12, {"as_of": "2025-08-31"})
    jobs.finish(store, job, None, [Problem("clients", "no file", "hand it in")])
    [known] = jobs.latest(store, ["bank"])
    assert known.state == "failed" and known.problems == [{"where": "clients", "what": "no file", "fix": "hand it in"}]


def test_keys(place, store):
    key = create_key("the shop", "operator", workspace=place, playbooks=["shop"])
    known = known_keys(store)[digest(key)]
    assert known.may("viewer", "shop") and known.may("operator", "shop")
    assert not known.may("approver", "shop") and not known.may("viewer", "bank") and known.may("viewer")
    revoke_key(known.key_id, workspace=place)
    assert list_keys(workspace=place)[0].revoked is not None
    for wrong in (lambda: create_key("x", "king", workspace=place), lambda: revoke_key("none", workspace=place)):
        with pytest.raises(UsageError):
            wrong()
