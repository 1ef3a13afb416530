"""What the gateway wants of whoever does the pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pero_worker.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A page to do: its image is page `frame` (from 0) of the file at `path`, all of it with `whole_file`; `stages` are
    those of its engine, `source` names it in workers' logs."""

    page: str
    """Its id."""
    job: str
    """The id of its job."""
    path: Path
    name: str
    """The page's, in its job."""
    stages: tuple[str, ...]
    source: str
    frame: int = 0
    whole_file: bool = True
    priority: int = 0
    """Pages with a higher one go first."""
    traceparent: str = ""
    """Its place in a trace; '' = none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOutcome:
    """A finished request, or what went wrong outside of any worker; `settle` is called when it is written down."""

    page: str
    """The id of the page."""
    request: Request | None = None
    """As the last worker left it."""
    error: str = ""
    """What went wrong."""
    settle: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEngine:
    """An engine that the backend can do."""

    name: str
    """As clients ask for it."""
    version: str
    """Of its pipeline or its stages."""
    stages: tuple[str, ...]
    """That its pages go through."""
    description: str = ""
    """For people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Pages that a carrier has lost."""

    before: float
    """Those that were sent before this time, in seconds since 1970, and have not come back."""
    all_gone: bool
    """Everything that was there is gone: nothing is at fault but the carrier."""


class PageBackend(Protocol):
    """Called from one thread but for `trouble`."""

    carried: bool
    """Whether what was sent survives this gateway."""

    def start(self) -> Sequence[ServedEngine]:
        """Which engines there are. StageError: one of them cannot be used."""

    def room(self) -> int:
        """How many more pages it takes now."""

    def send(self, work: Work) -> None:
        """TransientError: not now. PageError: never."""

    def outcomes(self, timeout: float) -> Sequence[WorkOutcome]:
        """Those that came within `timeout` seconds, at least one if any came."""

    def sent(self) -> Sequence[str]:
        """Pages that were sent and have not come back."""

    def drop(self, pages: Sequence[str]) -> None:
        """Nobody waits for these any more: they were cancelled, or another gateway has taken their results."""

    def lost(self) -> Lost | None:
        """Which pages that were sent are nowhere any more, so that they wait again; None: none, as far as one can tell.
        TransientError: it cannot be told now."""

    def begin_anew(self) -> None:
        """What was lost waits again: the carrier is made ready for it."""

    def trouble(self) -> str:
        """Why pages are not being done at present, '' when they are."""

    def close(self) -> None: ...
