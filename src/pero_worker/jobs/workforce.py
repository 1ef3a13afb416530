"""Who does the pages of a run: processes of this machine (`local/workforce.py`), or a cluster
(`cluster/pages/workforce.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pero_worker.jobs.plan import PageTask
from pero_worker.request import Request


class DeathListener(Protocol):
    def __call__(self, exit_code: int, pages: int) -> None:
        """A worker process ended by itself and gave `pages` pages back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOutcome:
    """What became of a page: its finished request, or what went wrong."""

    page_id: str
    """What it was handed in as."""
    request: Request | None = None
    """With its results; None: something went wrong."""
    error_class: str = ""
    """What kind of failure it was: see `errors.py`."""
    error: str = ""
    """Why, in a sentence."""
    settle: Callable[[], None] = lambda: None
    """Called when it is written down: from then on nobody else knows of it."""


class Workforce(Protocol):
    """Takes pages in and gives outcomes out; each page handed in comes out once."""

    @property
    def pipeline(self) -> str:
        """Name of what it does to pages."""

    @property
    def version(self) -> str:
        """Of the pipeline: pages are done again when it changes."""

    @property
    def wants_layout(self) -> bool:
        """Whether pages come with their lines, where there are any."""

    def start(self, pages: int, on_death: DeathListener) -> int:
        """Before the first page of `pages`; how many workers there are, 0 = not known."""

    def wants_more(self) -> bool:
        """Whether another page may be handed in now: waiting pages cost memory."""

    def hand_in(self, page_id: str, task: PageTask) -> None:
        """PageError: the page cannot even be sent."""

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        """Those that came within `timeout` seconds. StageError: the pipeline cannot be loaded."""

    def stop(self, finished: bool) -> None:
        """`finished`: no page is left."""
