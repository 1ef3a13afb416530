"""Reports where each page's time goes to an OpenTelemetry collector.

Off unless the standard OTEL_* variables name a collector; if off, only this module is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pero_worker.tracing.spans import SpanSink

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a collector to report to."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporters:
        return "otlp" in [name.strip() for name in exporters.split(",")]
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


def open_sink(service: str, instance: str = "") -> SpanSink | None:
    """Returns the sink for this process's spans; None if tracing is off, or if it cannot be set up, which is logged.

    `service` is the service's name, unless OTEL_SERVICE_NAME gives one.
    """
    if not is_wanted():
        return None
    from pero_worker.tracing.export import collector_sink  # noqa: PLC0415

    return collector_sink(service, instance)
