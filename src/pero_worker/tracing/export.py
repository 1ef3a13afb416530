"""Sends spans to a collector over OTLP, in batches, from OpenTelemetry's own thread. Spans that cannot be delivered are
dropped."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pero_worker
from pero_worker.text import one_line
from pero_worker.tracing.spans import Span, SpanSink, place_in

logger = logging.getLogger(__name__)
_CLOSE_SECONDS = 1.5
_SAID_AGAIN_SECONDS = 600.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def collector_sink(service: str, instance: str) -> SpanSink | None:
    """Returns a sink as configured by the OTEL_* variables; None, with a line in the log, if that is impossible."""
    for name in _PROTOCOLS:
        protocol = os.environ.get(name, "").strip()
        if protocol and protocol != "http/protobuf":
            logger.warning("%s=%s is not supported, traces go by http/protobuf", name, one_line(protocol)[:40])
    for name in _ENDPOINTS:
        address = os.environ.get(name, "").strip()
        if address and not _is_address(address):
            logger.warning("no traces are told: %s must be as http://HOST:4318", name)
            return None
    try:
        return _Collector(service, instance)
    except ImportError:
        logger.warning("no traces are told: they need more packages: pip install 'pero-worker[otel]'")
    except Exception as error:  # whatever the variables say, pages must go on
        logger.warning("no traces are told, as OpenTelemetry cannot be set up: %s", one_line(str(error))[:200])
    return None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _Collector:
    """`SpanSink` on OpenTelemetry's SDK. Spans are handed over once they have ended, with their own ids."""

    def __init__(self, service: str, instance: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        _quiet()
        known = {"service.version": pero_worker.__version__, "service.namespace": "pero"}
        if instance:
            known["service.instance.id"] = instance
        said = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in said:
            known["service.name"] = service
        self._resource = Resource.create({name: value for name, value in known.items() if f"{name}=" not in said})
        # Needed only for the sampler that OTEL_TRACES_SAMPLER names.
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._make = _span_maker()

    def tell(self, span: Span) -> None:
        try:
            self._processor.on_end(self._make(span, self._resource))
        except Exception:  # tracing must never cost a page
            logger.debug("a span cannot be told", exc_info=True)

    def keeps(self, trace: str) -> bool:
        decision: Any = self._sampler.should_sample(None, int(trace, 16), "page").decision
        return bool(decision.is_sampled())

    def close(self) -> None:
        # A collector that accepts connections but never answers would delay the end by ten seconds and more.
        closing = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def _span_maker() -> Any:
    """Returns a function that converts our spans to OpenTelemetry's."""
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
    from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags  # noqa: PLC0415
    from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415

    scope = InstrumentationScope("pero_worker", pero_worker.__version__)

    def context(trace: str, span: str, *, sampled: bool, remote: bool) -> SpanContext:
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return SpanContext(int(trace, 16), int(span, 16), remote, flags)

    def links(traceparent: str) -> Sequence[Link]:
        place = place_in(traceparent)
        return [Link(context(place.trace, place.span, sampled=place.sampled, remote=True))] if place else []

    def make(span: Span, resource: Any) -> ReadableSpan:
        place = span.place
        own = context(place.trace, place.span, sampled=place.sampled, remote=False)
        parent = context(place.trace, span.parent, sampled=place.sampled, remote=False) if span.parent else None
        return ReadableSpan(
            name=span.name,
            context=own,
            parent=parent,
            resource=resource,
            attributes=dict(span.attributes),
            links=links(span.link),
            kind=SpanKind[span.kind.value],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
            start_time=_nanoseconds(span.start),
            end_time=_nanoseconds(span.end),
            instrumentation_scope=scope,
        )

    return make


def _nanoseconds(moment: datetime) -> int:
    return max(0, (moment - _EPOCH) // timedelta(microseconds=1) * 1000)


def _quiet() -> None:
    """OpenTelemetry logs every batch that it could not deliver, some with a traceback; one line of ours replaces
    them."""
    telling = logging.getLogger("opentelemetry")
    telling.propagate = False
    telling.handlers[:] = [_SaidOnce()]


class _SaidOnce(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        if record.created - self._said >= _SAID_AGAIN_SECONDS:
            self._said = record.created
            reason = one_line(record.getMessage())[:300]
            logger.warning("traces do not reach the collector (pages go on): %s", reason)
