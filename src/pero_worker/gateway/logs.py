"""The gateway's log, with one JSON object per line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from pero_worker.tracing import is_wanted
from pero_worker.tracing.spans import trace_of

_OF_RECORDS = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "color_message", "taskName"})


class JsonLines(logging.Formatter):
    """Writes time, level, logger, message, everything given as `extra`, and the traceback of an exception; with
    `traced`, also the trace id of the page that a line is about."""

    def __init__(self, traced: bool = False) -> None:
        super().__init__()
        self._traced = traced

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {name: value for name, value in record.__dict__.items() if name not in _OF_RECORDS}
        values.update({name: value for name, value in extra.items() if value is not None})
        if self._traced and isinstance(page := extra.get("page"), str):
            values["trace_id"] = trace_of(page)
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)


def log_json(level: int) -> None:
    """Makes the program log to stderr as JSON from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(is_wanted()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("pero_worker").setLevel(level)
