"""The messy files and values of tests/spec once more, through HTTP: the same tests, with a bank that hands them in.

Every twenty-fourth of them in CI, all with NEXTBEST_PROOF=full.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from tests.conftest import Bank
from tests.spec import test_messy_currencies, test_messy_files, test_messy_values
from tests.web.conftest import ended

from nextbest.errors import DataError, Problem
from nextbest.run import Run

NOT_OVER_HTTP = {"test_a_folder_that_is_not_ours_is_not_overwritten"}
SPECS = {**vars(test_messy_files), **vars(test_messy_values), **vars(test_messy_currencies)}
globals().update({name: test for name, test in SPECS.items() if name.startswith("test_") and name not in NOT_OVER_HTTP})

TABLES = "/v1/playbooks/bank-kz/tables"


@dataclass
class Handed(Bank):
    """A bank whose tables are handed in to a server, which decides for it in a job."""

    ask: Any = None

    def decide(self, **options: object) -> Run:
        if options:
            pytest.skip("the server decides by its own playbook")
        problems: list[Problem] = []
        for table in self.ask.get(TABLES).json():
            assert self.ask.delete(f"{TABLES}/{table}").status_code == 200
        paths = sorted(self.write().iterdir())
        if any(path.is_dir() for path in paths):
            pytest.skip("files are handed in, no folders")
        for path in paths:
            table = next(name for name in ("transactions", "transfers", "clients") if name in path.name.lower())
            with path.open("rb") as file:
                problems += told(self.ask.put(f"{TABLES}/{table}?append=true", files={"file": (path.name, file)}))
        if problems:
            raise DataError(problems)
        job = self.ask.post("/v1/playbooks/bank-kz/jobs", json={"as_of": "2025-08-31", "record": False}).json()
        job = ended(self.ask, job)
        if job["state"] == "failed":
            raise DataError([Problem(**item) for item in job["problems"]])
        return Run(self.ask.app.state.serving.first.host.folder / "runs" / job["job_id"])


def told(reply: Any) -> list[Problem]:
    """What the reply finds wrong: nothing where it is good; a server error is never an answer."""
    assert reply.status_code in (200, 400, 404, 413, 415, 422), reply.text
    return [] if reply.status_code == 200 else [Problem(**item) for item in reply.json()["problems"]]


@pytest.fixture(scope="module")
def server(start):
    return start(playbooks=["bank-kz"])


@pytest.fixture
def bank(tmp_path, server) -> Handed:
    return Handed(tmp_path, ask=server)
