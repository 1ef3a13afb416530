"""What the gateway requires of whoever processes the pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pero_worker.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A page to process."""

    page: str
    """The id of the page."""
    job: str
    """The id of its job."""
    path: Path
    """The file that holds the page's image."""
    name: str
    """The page's name in its job."""
    stages: tuple[str, ...]
    """The stages of the page's engine."""
    source: str
    """The page's name in the logs of workers."""
    frame: int = 0
    """The page's place in the file, counted from 0."""
    whole_file: bool = True
    """Whether the file holds this page alone."""
    priority: int = 0
    """Pages with a higher priority go first."""
    traceparent: str = ""
    """The page's place in a trace; '' if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOutcome:
    """A finished request, or what went wrong outside any worker; `settle` is called once it has been recorded."""

    page: str
    """The id of the page."""
    request: Request | None = None
    """The request as the last worker left it."""
    error: str = ""
    """What went wrong, if there is no request."""
    settle: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEngine:
    """An engine that the backend can run."""

    name: str
    """The name by which clients ask for it."""
    version: str
    """The version of its pipeline or its stages."""
    stages: tuple[str, ...]
    """The stages that its pages go through."""
    description: str = ""
    """A description for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Pages that a carrier has lost."""

    before: float
    """When the lost pages were sent: before this time, in seconds since 1970, and they have not come back."""
    all_gone: bool
    """Whether everything is gone, so that only the carrier is at fault."""


class PageBackend(Protocol):
    """Processes pages. All methods except `trouble` are called from one thread."""

    carried: bool
    """Whether pages that were sent survive the end of this gateway."""

    def start(self) -> Sequence[ServedEngine]:
        """Starts, and returns the engines it serves; raises `StageError` if one of them cannot be used."""

    def room(self) -> int:
        """Returns how many more pages it accepts now."""

    def send(self, work: Work) -> None:
        """Sends a page to be processed; raises `TransientError` if that must wait, and `PageError` if it can never
        be."""

    def outcomes(self, timeout: float) -> Sequence[WorkOutcome]:
        """Returns the outcomes that arrive within `timeout` seconds: at least one, if any arrive."""

    def sent(self) -> Sequence[str]:
        """Returns the pages that were sent and have not come back."""

    def drop(self, pages: Sequence[str]) -> None:
        """Forgets pages that nobody waits for: they were cancelled, or another gateway has taken their results."""

    def lost(self) -> Lost | None:
        """Returns which pages were sent but have vanished, so that they can be requeued; None if none seem to be lost.

        Raises `TransientError` if this cannot be determined now.
        """

    def begin_anew(self) -> None:
        """Makes the carrier ready again; what was lost has been requeued."""

    def trouble(self) -> str:
        """Returns why pages are not being processed at present, or '' if they are."""

    def close(self) -> None: ...
