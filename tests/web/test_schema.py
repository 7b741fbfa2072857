"""schemathesis over the whole API: whatever is sent, no server error, and every reply is as the schema says."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance  # noqa: E402

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
EXAMPLES = int(os.environ.get("NEXTBEST_API_EXAMPLES", "12"))


@pytest.fixture(scope="module")
def url(tmp_path_factory, bank):
    folder = tmp_path_factory.mktemp("schema")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "nextbest", "serve", "-p", "bank-kz", "-p", "private-bank", "--no-keys", "--port", str(port)]
    environment = {**os.environ, "NEXTBEST_SERVER_RATE": "1000000/minute", "NEXTBEST_SERVER_MOST_SECONDS": "20"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*command, "--workspace", folder / "workspace"], env=environment, stdout=log, stderr=log)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ready")
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
            assert server.poll() is None, (folder / "log").read_text()[-3000:]
        finally:
            server.terminate()
            server.wait(40)


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
