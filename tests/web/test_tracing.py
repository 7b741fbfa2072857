"""Spans go to a collector; they hold routes, and nothing of a customer."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra is not installed: pip install 'nextbest[otel]'")


def test_a_request_is_a_span_of_its_callers_trace(start):
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    client = start(traces=f"http://127.0.0.1:{collector.server_port}/")
    trace = "0af7651916cd43dd8448eb211c80319c"
    client.get("/v1/playbooks/bank-kz/customers/very-secret-code/decision", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    client.__exit__(None, None, None)  # the server's end sends what waits
    client.__enter__()
    sent = b"".join(got)
    assert b"GET /v1/playbooks/{playbook}/customers/{customer}/decision" in sent and bytes.fromhex(trace) in sent
    assert b"very-secret-code" not in sent
    collector.shutdown()
    collector.server_close()
