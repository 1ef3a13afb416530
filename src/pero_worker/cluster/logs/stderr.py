"""The log of a program as it is seen by whoever started it."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: int) -> None:
    """What is at least `level`; a log queue is told more."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("pero_worker").setLevel(min(level, logging.INFO))
