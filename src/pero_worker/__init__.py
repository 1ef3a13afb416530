"""pero-worker: turns scans into text with PERO OCR, on one machine or on many.

The public names are listed here and loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "api": ("Reader", "ocr", "read", "read_page_xml", "submit"),
    "client": ("ClusterClient", "connect"),
    "page": ("Image", "Line", "Page", "Point", "Polygon", "Region", "Word"),
    "ports": ("Engine", "EngineFactory"),
    "work": ("EngineInput", "EngineOutput"),
    "formats": ("Document", "DocumentFormat", "PageFormat"),
    "jobs.job": ("Job", "JobState", "JobStatus"),
    "jobs.records": ("PageRecord", "PageStatus", "read_report"),
    "jobs.listener": ("Summary",),
    "errors": (
        "ExitCode",
        "NoInputError",
        "OutputError",
        "PageError",
        "PeroWorkerError",
        "RequestError",
        "StageError",
        "TransientError",
        "UsageError",
    ),
}
"""The package's modules, each with its public names."""
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ClusterClient",
    "Document",
    "DocumentFormat",
    "Engine",
    "EngineFactory",
    "EngineInput",
    "EngineOutput",
    "ExitCode",
    "Image",
    "Job",
    "JobState",
    "JobStatus",
    "Line",
    "NoInputError",
    "OutputError",
    "Page",
    "PageError",
    "PageFormat",
    "PageRecord",
    "PageStatus",
    "PeroWorkerError",
    "Point",
    "Polygon",
    "Reader",
    "Region",
    "RequestError",
    "StageError",
    "Summary",
    "TransientError",
    "UsageError",
    "Word",
    "__version__",
    "connect",
    "ocr",
    "read",
    "read_page_xml",
    "read_report",
    "submit",
]

if TYPE_CHECKING:
    from pero_worker.api import Reader, ocr, read, read_page_xml, submit
    from pero_worker.client import ClusterClient, connect
    from pero_worker.errors import (
        ExitCode,
        NoInputError,
        OutputError,
        PageError,
        PeroWorkerError,
        RequestError,
        StageError,
        TransientError,
        UsageError,
    )
    from pero_worker.formats import Document, DocumentFormat, PageFormat
    from pero_worker.jobs.job import Job, JobState, JobStatus
    from pero_worker.jobs.listener import Summary
    from pero_worker.jobs.records import PageRecord, PageStatus, read_report
    from pero_worker.page import Image, Line, Page, Point, Polygon, Region, Word
    from pero_worker.ports import Engine, EngineFactory
    from pero_worker.work import EngineInput, EngineOutput


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'pero_worker' has no attribute {name!r}")
    value = getattr(import_module(f"pero_worker.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
