"""The workforce that does the pages of a run: processes on this machine (`local/workforce.py`) or a cluster
(`cluster/pages/workforce.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pero_worker.jobs.plan import PageTask
from pero_worker.request import Request


class DeathListener(Protocol):
    def __call__(self, exit_code: int, pages: int) -> None:
        """Called when a worker process has ended by itself and given `pages` pages back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOutcome:
    """What became of a page: its finished request, or what went wrong."""

    page_id: str
    """ID under which the page was handed in."""
    request: Request | None = None
    """The request with its results; None if something went wrong."""
    error_class: str = ""
    """What kind of failure it was: see `errors.py`."""
    error: str = ""
    """Why, in a sentence."""
    settle: Callable[[], None] = lambda: None
    """Called once the outcome is recorded: from then on nobody else knows of the page."""


class Workforce(Protocol):
    """Takes pages and returns outcomes; each page handed in comes out once."""

    @property
    def pipeline(self) -> str:
        """Name of the pipeline that pages go through."""

    @property
    def version(self) -> str:
        """Version of the pipeline: pages are done again when it changes."""

    @property
    def wants_layout(self) -> bool:
        """Whether pages are to come with their lines, where there are any."""

    def start(self, pages: int, on_death: DeathListener) -> int:
        """Called before the first of `pages` pages; returns how many workers there are, 0 if not known."""

    def wants_more(self) -> bool:
        """Whether another page may be handed in now: waiting pages cost memory."""

    def hand_in(self, page_id: str, task: PageTask) -> None:
        """Hands in a page. Raises `PageError` if it cannot even be sent."""

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        """Returns those that came within `timeout` seconds. Raises `StageError` if the pipeline cannot be loaded."""

    def stop(self, finished: bool) -> None:
        """Stops the workers. `finished`: no page is left."""
