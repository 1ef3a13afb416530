"""`pero-worker` as a member of the cluster under fire: its clock can be set, and what it syncs is noted.

Processes that it spawns import this module again, and have the same clock.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from pero_worker.clock import SystemClock

CLOCK, SYNCS = "CHAOS_CLOCK", "CHAOS_SYNCS"
"""Variables that name files: the hours by which the clock is wrong; what was synced."""

_right = SystemClock.now


def _wrong(self: SystemClock) -> datetime:
    return _right(self) + timedelta(hours=float(Path(os.environ[CLOCK]).read_text() or 0))


if os.environ.get(CLOCK):
    SystemClock.now = _wrong  # type: ignore[method-assign]

if __name__ == "__main__":
    if os.environ.get(SYNCS):
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from faults.forgetful import note_syncs

        note_syncs(Path(os.environ[SYNCS]))
    sys.argv[0] = "pero-worker"
    from pero_worker.__main__ import main

    main()
