"""Where each page's time goes, told to an OpenTelemetry collector.

Off unless the standard OTEL_* variables say where one is; then nothing is imported but this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pero_worker.tracing.spans import SpanSink

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a collector to tell."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporters:
        return "otlp" in [name.strip() for name in exporters.split(",")]
    return any(environment.get(name, "").strip() for name in _ENDPOINTS)


def open_sink(service: str, instance: str = "") -> SpanSink | None:
    """What is to be told of spans by this process; None: nobody wants them, or they cannot be told, which is logged.

    `service` is who tells them where OTEL_SERVICE_NAME does not say so.
    """
    if not is_wanted():
        return None
    from pero_worker.tracing.export import collector_sink  # noqa: PLC0415

    return collector_sink(service, instance)
