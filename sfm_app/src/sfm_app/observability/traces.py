"""Spans through the OpenTelemetry SDK, only when an OTLP endpoint is configured. Nothing is sent anywhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfm_core.config.settings import Settings
from sfm_core.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["Tracer", "open_tracer"]

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_DISTRIBUTION = "opentelemetry-exporter-otlp-proto-http"


class Tracer:
    """Opens one server span per request, joined to the caller's trace by `traceparent`."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer("sfm_app")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, method: str, route: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """Open the span of one request; the caller sets its status code."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=self._propagator.extract(dict(headers)),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


@contextmanager
def open_tracer(settings: Settings, exporter: SpanExporter | None = None) -> Iterator[Tracer | None]:
    """Yield the tracer that `settings` ask for, None when they ask for none; what is left is sent at the end.

    Args:
        settings: `OTEL_EXPORTER_OTLP_ENDPOINT` switches traces on, `OTEL_TRACES_EXPORTER=none` off.
        exporter: stands in for the OTLP exporter.

    Raises:
        ConfigError: traces are asked for and the exporter's package is missing; names what to install.
    """
    if settings.otel_traces_exporter == "none" or (settings.otel_endpoint is None and exporter is None):
        yield None
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": settings.otel_service_name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or _otlp(settings)))
    try:
        yield Tracer(provider)
    finally:
        provider.shutdown()


def _otlp(settings: Settings) -> SpanExporter:
    try:
        module = import_module(_EXPORTER)
    except ImportError as error:
        raise ConfigError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT: traces need the package {_DISTRIBUTION}: "
            f"pip install 'sfm-app[otlp]' (or OTEL_TRACES_EXPORTER=none)"
        ) from error
    endpoint = (settings.otel_endpoint or "").rstrip("/") + "/v1/traces"
    headers = settings.otel_headers.reveal() if settings.otel_headers is not None else ""
    pairs = dict(part.strip().split("=", 1) for part in headers.split(",") if "=" in part)
    exporter: SpanExporter = module.OTLPSpanExporter(endpoint=endpoint, headers=pairs or None)
    return exporter
