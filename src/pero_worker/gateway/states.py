"""Pure: the states of jobs and pages, and how one follows from another; no database and no HTTP."""

from __future__ import annotations

from enum import StrEnum


class ProcessingState(StrEnum):
    """The state of a job: `error` waits for another attempt; `done`, `failed` and `cancelled` are final."""

    NEW = "new"
    QUEUED = "queued"
    PROCESSING = "processing"
    ERROR = "error"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PageState(StrEnum):
    """The state of a page: `created` waits for uploads, `waiting` for a worker; those from `done` on are final."""

    CREATED = "created"
    WAITING = "waiting"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Failure(StrEnum):
    """Why a page failed, in the words of the legacy API."""

    NOT_FOUND = "NOT_FOUND"
    INVALID_FILE = "INVALID_FILE"
    PROCESSING_FAILED = "PROCESSING_FAILED"


class Api(StrEnum):
    """The API that a job was created through."""

    LEGACY = "legacy"
    V1 = "v1"


class Backend(StrEnum):
    """Who processes the pages: our own workers or cluster, or whoever asks for a lease."""

    FARM = "farm"
    LEASE = "lease"


FINAL_JOBS = frozenset({ProcessingState.DONE, ProcessingState.FAILED, ProcessingState.CANCELLED})
OPEN_PAGES = frozenset({PageState.CREATED, PageState.WAITING, PageState.PROCESSING})

_LEGACY_STATES = {
    PageState.CREATED: "CREATED",
    PageState.WAITING: "WAITING",
    PageState.PROCESSING: "PROCESSING",
    PageState.DONE: "PROCESSED",
    PageState.CANCELLED: "CANCELED",
    PageState.EXPIRED: "EXPIRED",
}


def legacy_state(state: str, failure: str | None) -> str:
    """Returns the legacy API's name for a page's state; a failed page gets the name of its failure."""
    page_state = PageState(state)
    if page_state is PageState.FAILED:
        return failure or Failure.PROCESSING_FAILED
    return _LEGACY_STATES[page_state]


def finished_state(pages: int, failed: int) -> ProcessingState:
    """Returns the state of a job whose pages are all final: it has failed only if every page has."""
    return ProcessingState.FAILED if pages and failed == pages else ProcessingState.DONE
