"""Looks up jobs and their pages, and holds what all changes to them have in common."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, bindparam, select, update

from pero_worker.gateway.states import OPEN_PAGES, ProcessingState
from pero_worker.gateway.store.events import append_event
from pero_worker.gateway.store.schema import jobs, pages

OPEN = [state.value for state in OPEN_PAGES]
ROWS_AT_ONCE = 1000

# Statements that run for every page are built once: building one takes longer than running it.
CHANGE_JOB = update(jobs).where(jobs.c.id == bindparam("which"))
"""Parameters other than `which` are columns and their new values."""
CHANGE_PAGE = update(pages).where(pages.c.id == bindparam("which"))
_JOB = select(jobs).where(jobs.c.id == bindparam("job"))
_LOCKED_JOB = _JOB.with_for_update()
_PAGE = select(pages).where(pages.c.id == bindparam("page"))
_NAMED_PAGE = select(pages).where(pages.c.job == bindparam("job"), pages.c.name == bindparam("name"))
_PAGES = select(pages).where(pages.c.job == bindparam("job")).order_by(pages.c.position, pages.c.number)


def find_job(connection: Connection, job: str, *, locked: bool = False) -> RowMapping | None:
    return connection.execute(_LOCKED_JOB if locked else _JOB, {"job": job}).mappings().first()


def find_page(connection: Connection, job: str, name: str) -> RowMapping | None:
    return connection.execute(_NAMED_PAGE, {"job": job, "name": name}).mappings().first()


def page_by_id(connection: Connection, page: str) -> RowMapping | None:
    return connection.execute(_PAGE, {"page": page}).mappings().first()


def pages_of(connection: Connection, job: str) -> Sequence[RowMapping]:
    """Returns the job's pages in their owner's order; pages that came out of one upload stay together."""
    found = connection.execute(_PAGES, {"job": job}).mappings().all()
    numbers = {page["id"]: page["number"] for page in found if page["frames"]}
    if not numbers:
        return found

    def place(page: RowMapping) -> tuple[int, int, int]:
        return page["position"], numbers.get(page["document"] or page["id"], page["number"]), page["frame"]

    return sorted(found, key=place)


def pages_of_document(connection: Connection, page: str) -> Sequence[RowMapping]:
    """Returns the page and the others from the same upload, in order."""
    query = select(pages).where((pages.c.id == page) | (pages.c.document == page)).order_by(pages.c.frame)
    return connection.execute(query).mappings().all()


def tell_job(connection: Connection, job: str, owner: str, state: ProcessingState, now: float) -> None:
    """Notifies those who follow the job of its state."""
    append_event(connection, "job.state", owner=owner, job=job, data={"job": job, "state": state.value}, now=now)
