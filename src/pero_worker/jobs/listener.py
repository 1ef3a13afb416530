"""What a run reports: to a listener while it is running, and as a summary at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pero_worker.inputs.discover import Discovery
from pero_worker.jobs.records import PageRecord, PageStatus

MAX_FAILURES_KEPT = 20


class RunListener(Protocol):
    """Is notified of what happens; may print it or not."""

    def notice(self, text: str) -> None:
        """Called for something that the user should know; the run goes on."""

    def started(self, workers: int) -> None:
        """Called when the workers are started; `workers` is 0 if their number is not known."""

    def expects(self, pages: int, finished_before: int) -> None:
        """Called with the pages to do in the documents opened so far; an unopened one counts as one page."""

    def page_settled(self, record: PageRecord) -> None: ...

    def worker_died(self, exit_code: int, pages: int) -> None: ...

    def making_documents(self, documents: int) -> None:
        """Called when all pages are settled and `documents` files of whole documents are still to be made."""


class NullListener:
    """Ignores everything; a base for listeners that need only some of the events."""

    def notice(self, text: str) -> None: ...

    def started(self, workers: int) -> None: ...

    def expects(self, pages: int, finished_before: int) -> None: ...

    def page_settled(self, record: PageRecord) -> None: ...

    def worker_died(self, exit_code: int, pages: int) -> None: ...

    def making_documents(self, documents: int) -> None: ...


@dataclass(slots=True, kw_only=True)
class Summary:
    """The outcome of a run."""

    done: int = 0
    """Pages that were done."""
    finished_before: int = 0
    """Pages that an earlier run had done."""
    failed: int = 0
    """Pages that failed."""
    failures: list[PageRecord] = field(default_factory=list)
    """Records of the first 20 pages that failed."""
    cancelled: int = 0
    """Pages that were not read because their job was cancelled in the cluster."""
    documents_failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Files of whole documents that could not be made: document, format, reason."""
    discovery: Discovery | None = None
    """What was found, and what was skipped."""
    nothing_to_read: int = 0
    """Pages of books that have no picture."""
    seconds: float = 0.0
    """How long the run took, in seconds."""
    interrupted: bool = False
    """Whether the run was ended before all pages were settled."""

    def count(self, record: PageRecord) -> None:
        """Counts a page that is settled."""
        match record.status:
            case PageStatus.DONE:
                self.done += 1
            case PageStatus.SKIPPED:
                self.nothing_to_read += 1
            case PageStatus.CANCELLED:
                self.cancelled += 1
            case PageStatus.FAILED:
                self.failed += 1
                if self.failed <= MAX_FAILURES_KEPT:
                    self.failures.append(record)
