"""A span of OpenTelemetry for every request, where a collector is named. Like the log, it holds routes and never a path or a body."""

from collections.abc import Mapping
from typing import Any

from nextbest import __version__
from nextbest.errors import Problem, UsageError


class Traces:
    """Sends spans to a collector by OTLP over HTTP, in the background. Raises UsageError without the extra."""

    def __init__(self, collector: str):
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError:
            raise UsageError([Problem("NEXTBEST_SERVER_TRACES", "needs OpenTelemetry", "pip install 'nextbest[otel]'")]) from None
        resource = Resource.create({"service.name": "nextbest", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces")))
        self._tracer = self._provider.get_tracer("nextbest")
        self._extract, self._trace = propagate.extract, trace

    def request(self, method: str, route: str, status: int, began: float, ended: float, headers: Mapping[str, str]) -> None:
        """One request answered; a `traceparent` of the caller makes the span a part of their trace."""
        attributes: dict[str, Any] = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        span = self._tracer.start_span(
            f"{method} {route}",
            context=self._extract(headers),
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=int(began * 1e9),
        )
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(int(ended * 1e9))

    def stop(self) -> None:
        """Send what waits."""
        self._provider.shutdown()
