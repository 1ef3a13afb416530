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


@dataclass(frozen=True, slots=True)
class PageOutcome:
    """What became of the page `page_id`: its finished request, or the class and text of what went wrong.

    `settle` is called when it is written down: from then on nobody else knows of it.
    """

    page_id: str
    request: Request | None = None
    error_class: str = ""
    error: str = ""
    settle: Callable[[], None] = lambda: None


class Workforce(Protocol):
    """Takes pages in and gives outcomes out; each page handed in comes out once."""

    def start(self, pages: int, gone: DeathListener) -> int:
        """Before the first page of `pages`; how many workers there are, 0 = not known."""

    def wants_more(self) -> bool:
        """Whether another page may be handed in now: waiting pages cost memory."""

    def hand_in(self, page_id: str, task: PageTask) -> None:
        """PageError: the page cannot even be sent."""

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        """Those that came within `timeout` seconds. StageError: the pipeline cannot be loaded."""

    def stop(self, finished: bool) -> None:
        """`finished`: no page is left."""
