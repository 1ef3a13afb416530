"""An engine that only takes time, for load tests and for tests of failures.

Keys of `[WORKER]` that upstream has too: DUMMY (any text), TIME_SCALE (seconds per byte of the image, default 1),
TIME_DELTA (d: +-d seconds at random), TIME_DIFF_MIN and TIME_DIFF_MAX (instead of -d and d), FAILTEST (any text: every
page fails, unless DUMMY is set too). Ours are patterns of image names: FAIL_NAME (the page fails), KILL_NAME (the
process dies), HANG_NAME (the page never ends); NEEDS_IMAGE (any text: the page's image is decoded for it); and LINE
(text of a line that is added to the page, so that a result shows which stages made it).
"""

from __future__ import annotations

import logging
import math
import os
import random
import signal
import threading
from configparser import ConfigParser, SectionProxy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pero_worker.clock import SystemClock
from pero_worker.errors import PageError, StageError
from pero_worker.page import Line, Page, Region
from pero_worker.ports import Clock
from pero_worker.work import EngineInput, EngineOutput

logger = logging.getLogger(__name__)
_SIDE = 1000
"""Width and height of a page that no stage has measured, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DummyEngine:
    """A `ports.Engine` that leaves results unchanged, unless there is a `line` to add."""

    clock: Clock
    """The clock that it waits by."""
    chance: random.Random
    """Draws the random part of the wait."""
    scale: float = 1.0
    """Seconds to wait per byte of the page's image, in addition to the random part."""
    least: float = 0.0
    """Lower bound of the random part, in seconds."""
    most: float = 0.0
    """Upper bound of the random part, in seconds."""
    fail: str = ""
    """Pages whose names match this pattern fail."""
    kill: str = ""
    """Pages whose names match this pattern end the process, as a crash does."""
    hang: str = ""
    """Pages whose names match this pattern are never done."""
    line: str = ""
    """Text of a line to add; '' leaves results unchanged."""
    needs_image: bool = False
    """See `ports.Engine`."""
    description: str = "dummy"
    """See `ports.Engine`."""

    def process(self, work: EngineInput) -> EngineOutput:
        if self.kill and fnmatchcase(work.name, self.kill):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.hang and fnmatchcase(work.name, self.hang):
            logger.warning("hanging on %s", work.name)
            threading.Event().wait()
        if self.fail and fnmatchcase(work.name, self.fail):
            raise PageError(f"the dummy engine was told to fail on {work.name}")
        duration = work.size * self.scale + self.chance.uniform(self.least, self.most)
        if duration > 0:
            # Only then, because even a sleep of 0 s lets all other programs go first.
            self.clock.sleep(duration)
        return EngineOutput(page=self._page(work) if self.line else None)

    def close(self) -> None:
        """Does nothing: there is nothing to release."""

    def _page(self, work: EngineInput) -> Page:
        """Returns the page as earlier stages left it, with a line added at the bottom."""
        height, width = work.image.shape[:2] if work.image is not None else (_SIDE, _SIDE)
        before = work.page or Page(name=work.name, width=width, height=height)
        top = 20.0 * (len(before.regions) + 1)
        right = before.width - 10.0
        box = ((10.0, top), (right, top), (right, top + 15), (10.0, top + 15))
        number = len(before.regions) + 1
        line = Line(
            id=f"l{number}",
            baseline=box[3:1:-1],
            polygon=box,
            heights=(12.0, 3.0),
            text=f"{self.line}: {work.name}, {work.size} bytes",
            confidence=1.0,
        )
        return replace(before, regions=(*before.regions, Region(id=f"r{number}", polygon=box, lines=(line,))))


def load(config: ConfigParser, directory: Path, device: str) -> DummyEngine:
    """Loads the engine. Raises `StageError` if a duration is not a number."""
    section = config["WORKER"]
    delta = _number(section, "TIME_DELTA", 0.0)
    return DummyEngine(
        clock=SystemClock(),
        chance=random.Random(),  # noqa: S311 - durations, not secrets
        scale=_number(section, "TIME_SCALE", 1.0),
        least=_number(section, "TIME_DIFF_MIN", -delta),
        most=_number(section, "TIME_DIFF_MAX", delta),
        # As in upstream, DUMMY takes precedence.
        fail="*" if _text(section, "FAILTEST") and not _text(section, "DUMMY") else _text(section, "FAIL_NAME"),
        kill=_text(section, "KILL_NAME"),
        hang=_text(section, "HANG_NAME"),
        line=_text(section, "LINE"),
        needs_image=bool(_text(section, "NEEDS_IMAGE")),
    )


def _text(section: SectionProxy, key: str) -> str:
    # Raw, because a pattern of names may hold a per cent sign.
    return section.get(key, "", raw=True).strip()


def _number(section: SectionProxy, key: str, default: float) -> float:
    text = _text(section, key)
    try:
        number = float(text) if text else default
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise StageError(f"[WORKER] of a dummy stage: {key} must be a number of seconds, not {text!r}")
    return number
