"""Traces: off unless asked for, one span per request, joined to the caller's trace."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from sfm_app.observability.traces import open_tracer
from sfm_core.config.settings import Settings
from sfm_core.errors import ConfigError


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(otel_endpoint="http://127.0.0.1:1", otel_traces_exporter="none")]
)
def test_without_an_endpoint_or_with_none_nothing_is_traced(settings: Settings) -> None:
    """Nothing is sent anywhere by default."""
    with open_tracer(settings) as tracer:
        assert tracer is None


def test_a_missing_exporter_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are never dropped silently."""
    monkeypatch.setattr("sfm_app.observability.traces._EXPORTER", "no.such.module")
    tracer = open_tracer(Settings(otel_endpoint="http://127.0.0.1:4318"))
    with pytest.raises(ConfigError, match="opentelemetry-exporter-otlp-proto-http"), tracer:
        pytest.fail("traces were opened")


def test_a_request_is_one_server_span_of_the_callers_trace() -> None:
    """Named by method and route; what happens inside belongs to it."""
    exporter = InMemorySpanExporter()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with open_tracer(Settings(otel_service_name="mine"), exporter) as tracer:
        assert tracer is not None
        with tracer.span("GET", "/v1/stats", {"traceparent": parent}) as span:
            span.set_attribute("http.response.status_code", 200)
    [found] = exporter.get_finished_spans()
    assert (found.name, found.kind) == ("GET /v1/stats", SpanKind.SERVER)
    assert found.parent is not None
    assert f"{found.context.trace_id:032x}" == parent.split("-")[1]
    assert dict(found.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/v1/stats",
        "http.response.status_code": 200,
    }
    assert found.resource.attributes["service.name"] == "mine"


def test_the_text_of_an_error_does_not_get_into_a_span() -> None:
    """It may hold content."""
    exporter = InMemorySpanExporter()
    with open_tracer(Settings(), exporter) as tracer:
        assert tracer is not None
        with pytest.raises(RuntimeError), tracer.span("GET", "/v1/stats", {}):
            raise RuntimeError("secret")
    [found] = exporter.get_finished_spans()
    assert not found.status.is_ok
    assert "secret" not in found.to_json()


def test_the_sdk_is_not_even_imported_without_traces() -> None:
    """A service that sends nothing does not pay for it."""
    code = "import sys, sfm_app.application; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
