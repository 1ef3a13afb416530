"""An engine that only takes time: for load tests, and for tests of what goes wrong.

Keys of `[WORKER]` that upstream has too: DUMMY (any text), TIME_SCALE (seconds a byte of the image, default 1),
TIME_DELTA (d: +-d seconds at random), TIME_DIFF_MIN and TIME_DIFF_MAX (instead of -d and d), FAILTEST (any text: every
page fails). Ours, patterns of image names: FAIL_NAME (the page fails), KILL_NAME (the process dies), HANG_NAME (the
page never ends).
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from configparser import ConfigParser
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pero_worker.clock import SystemClock
from pero_worker.errors import PageError, StageError
from pero_worker.ports import Clock, EngineInput, EngineOutput

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DummyEngine:
    """`ports.Engine`; results are left unchanged."""

    clock: Clock
    chance: random.Random
    scale: float = 1.0
    least: float = 0.0
    most: float = 0.0
    fail: str = ""
    kill: str = ""
    hang: str = ""
    needs_image: bool = False
    description: str = "dummy"

    def process(self, work: EngineInput) -> EngineOutput:
        if fnmatch(work.name, self.kill):
            os.kill(os.getpid(), signal.SIGKILL)
        if fnmatch(work.name, self.hang):
            logger.warning("hanging on %s", work.name)
            threading.Event().wait()
        if fnmatch(work.name, self.fail):
            raise PageError(f"the dummy engine was told to fail on {work.name}")
        duration = work.size * self.scale + self.chance.uniform(self.least, self.most)
        self.clock.sleep(max(0.0, duration))
        return EngineOutput()

    def close(self) -> None:
        """Nothing to give up."""


def load(config: ConfigParser, directory: Path, device: str) -> DummyEngine:
    section = config["WORKER"]
    try:
        delta = section.getfloat("TIME_DELTA", fallback=0.0)
        return DummyEngine(
            clock=SystemClock(),
            chance=random.Random(),  # noqa: S311 - durations, not secrets
            scale=section.getfloat("TIME_SCALE", fallback=1.0),
            least=section.getfloat("TIME_DIFF_MIN", fallback=-delta),
            most=section.getfloat("TIME_DIFF_MAX", fallback=delta),
            fail="*" if section.get("FAILTEST", "").strip() else section.get("FAIL_NAME", ""),
            kill=section.get("KILL_NAME", ""),
            hang=section.get("HANG_NAME", ""),
        )
    except ValueError as error:
        raise StageError(f"[WORKER] of a dummy stage: {error}") from error
