"""schemathesis over the whole API: whatever is sent, no server error, and every reply is as the schema says."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from tests.web.conftest import PRIVATE, Server, ended

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance  # noqa: E402

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
EXAMPLES = int(os.environ.get("NEXTBEST_API_EXAMPLES", "6"))


@pytest.fixture(scope="module")
def url(tmp_path_factory, bank):
    """A server that has decided for both playbooks: most routes have something to say."""
    with Server(tmp_path_factory.mktemp("schema"), "bank-kz", "private-bank", MOST_SECONDS="20") as server:
        server.hand_in(bank)
        server.ask.put("/v1/playbooks/private-bank/tables/customers", files={"file": ("customers.csv", PRIVATE)})
        for name in ("bank-kz", "private-bank"):
            job = server.ask.post(f"/v1/playbooks/{name}/jobs", json={"as_of": "2025-08-31"}).json()
            assert ended(server.ask, job)["state"] == "done"
        yield server.url
        assert server.process.poll() is None, server.log()


def test_the_api_keeps_to_its_schema(url):
    """Every fault of every operation is told at once."""
    faults: dict[str, str] = {}
    operations = [found.ok() for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()]
    assert len(operations) > 30
    for operation in operations:

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def keeps(case):
            case.validate_response(case.call(), checks=CHECKS)

        try:
            keeps()
        except Exception as error:
            faults[operation.label] = str(error)[:600]
    assert not faults, "\n\n".join(f"{label}: {fault}" for label, fault in faults.items())
