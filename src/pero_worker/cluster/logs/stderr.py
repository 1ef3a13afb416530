"""A program's log on the terminal, for whoever started it."""

from __future__ import annotations

import logging
import sys

from pero_worker.text import clean_lines, one_line


class TerminalFormatter(logging.Formatter):
    """One line per record, with a traceback below it. Control characters in messages never reach the terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return clean_lines(super().formatException(ei))  # type: ignore[arg-type]


def log_to_stderr(level: int) -> None:
    """Logs records of at least `level` to standard error; a log queue may receive more."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(TerminalFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("pero_worker").setLevel(min(level, logging.INFO))
