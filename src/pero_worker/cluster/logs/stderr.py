"""The log of a program as it is seen by whoever started it."""

from __future__ import annotations

import logging
import sys

from pero_worker.text import clean_lines, one_line


class TerminalFormatter(logging.Formatter):
    """A line a record, a traceback below it; nothing of what others wrote has a say over the terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return clean_lines(super().formatException(ei))  # type: ignore[arg-type]


def log_to_stderr(level: int) -> None:
    """What is at least `level`; a log queue is told more."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(TerminalFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("pero_worker").setLevel(min(level, logging.INFO))
