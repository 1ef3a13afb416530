"""Jobs and pages as people view them: a few at a time, with what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Integer, RowMapping, cast, func, select, tuple_

from pero_worker.gateway.states import PageState
from pero_worker.gateway.store.schema import engines, jobs, keys, pages

_LATELY_ROWS, _LATELY_PAGES = 5000, 200
_ALIKE_ROWS = 50_000


def list_jobs(connection: Connection, owner: str | None, before: int | None, limit: int) -> Sequence[RowMapping]:
    """Returns the newest jobs of a key (None: of all) below number `before`, with `engine_name` and `owner_label`."""
    query = (
        select(jobs, engines.c.name.label("engine_name"), keys.c.label.label("owner_label"))
        .outerjoin(engines, engines.c.id == jobs.c.engine)
        .outerjoin(keys, keys.c.id == jobs.c.owner)
        .order_by(jobs.c.number.desc())
        .limit(limit)
    )
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if before is not None:
        query = query.where(jobs.c.number < before)
    return connection.execute(query).mappings().all()


def first_names(connection: Connection, ids: Sequence[str]) -> Mapping[str, str]:
    """Returns the name of each job's first page, which stands in for the name of an unnamed job."""
    found = {}
    for job in ids:
        query = select(pages.c.name).where(pages.c.job == job).order_by(pages.c.position, pages.c.number).limit(1)
        found[job] = str(connection.execute(query).scalar() or "")
    return found


def list_failures(connection: Connection, job: str, limit: int) -> Sequence[RowMapping]:
    """Returns the first failed pages of a job."""
    query = select(pages.c.name, pages.c.failure, pages.c.error).where(
        pages.c.job == job, pages.c.state == PageState.FAILED.value
    )
    return connection.execute(query.order_by(pages.c.position, pages.c.number).limit(limit)).mappings().all()


def can_retry(connection: Connection, job: str) -> bool:
    """Returns whether any failed page of the job has a scan."""
    query = select(pages.c.id).where(pages.c.job == job, pages.c.state == PageState.FAILED.value)
    there = pages.c.image_uploaded.is_(True) | pages.c.url.is_not(None)
    return connection.execute(query.where(there).limit(1)).first() is not None


def list_pages(
    connection: Connection, job: str, states: Sequence[str], after: tuple[int, int] | None, limit: int
) -> Sequence[RowMapping]:
    """Returns a job's pages in order, starting after position and number `after`; `states` filters, () means all."""
    query = select(pages).where(pages.c.job == job).order_by(pages.c.position, pages.c.number).limit(limit)
    if states:
        query = query.where(pages.c.state.in_(states))
    if after is not None:
        query = query.where(tuple_(pages.c.position, pages.c.number) > after)
    return connection.execute(query).mappings().all()


def page_counts(connection: Connection, job: str) -> Mapping[str, int]:
    """Returns how many pages of a job are in each state."""
    query = select(pages.c.state, func.count()).where(pages.c.job == job).group_by(pages.c.state)
    return {str(state): int(count) for state, count in connection.execute(query)}


def neighbours(connection: Connection, page: RowMapping) -> tuple[str | None, str | None]:
    """Returns the names of the pages before and after this one in its job."""
    place = tuple_(pages.c.position, pages.c.number)
    here = (page["position"], page["number"])
    query = select(pages.c.name).where(pages.c.job == page["job"])
    before = query.where(place < here).order_by(pages.c.position.desc(), pages.c.number.desc()).limit(1)
    after = query.where(place > here).order_by(pages.c.position, pages.c.number).limit(1)
    return connection.execute(before).scalar(), connection.execute(after).scalar()


def engine_figures(connection: Connection, engine: str) -> RowMapping:
    """Returns an engine's recent `pages`, with mean `seconds` of worker time and mean `quality` (percent) per page."""
    newest = select(func.max(pages.c.number)).scalar_subquery()
    late = (
        select(pages.c.worker_seconds, pages.c.quality)
        .where(pages.c.number > newest - _LATELY_ROWS, pages.c.engine == engine)
        .where(pages.c.state.in_([PageState.DONE.value, PageState.EXPIRED.value]))
        .order_by(pages.c.number.desc())
        .limit(_LATELY_PAGES)
        .subquery()
    )
    figures = select(
        func.count().label("pages"),
        func.avg(late.c.worker_seconds).label("seconds"),
        func.avg(late.c.quality).label("quality"),
    ).select_from(late)
    return connection.execute(figures).mappings().one()


def same_scans(connection: Connection, page: RowMapping, owner: str | None, limit: int) -> Sequence[RowMapping]:
    """Returns other pages that were read from the same scan, newest first, with `job_name` and `engine_name`.

    Looks only among the latest pages, of one key (None: of all keys).
    """
    scan = page["document"] or page["id"]
    digest = connection.execute(select(pages.c.image_sha256).where(pages.c.id == scan)).scalar()
    if digest is None:
        return []
    newest = select(func.max(pages.c.number)).scalar_subquery()
    alike = select(pages.c.id).where(pages.c.number > newest - _ALIKE_ROWS, pages.c.image_sha256 == digest)
    if owner is not None:
        alike = alike.where(pages.c.owner == owner)
    query = (
        select(pages, jobs.c.name.label("job_name"), engines.c.name.label("engine_name"))
        .join(jobs, jobs.c.id == pages.c.job)
        .outerjoin(engines, engines.c.id == pages.c.engine)
        .where(pages.c.frame == page["frame"], pages.c.id != page["id"], pages.c.state == PageState.DONE.value)
        .where((pages.c.document if page["document"] else pages.c.id).in_(alike))
        .order_by(pages.c.number.desc())
        .limit(limit)
    )
    return connection.execute(query).mappings().all()


def pages_by_minute(connection: Connection, since: float, *, sqlite: bool) -> Sequence[tuple[int, int, int]]:
    """Returns the minutes since 1970 in which pages of any key ended, and how many were done and failed in each."""
    # The cast truncates in SQLite and rounds in PostgreSQL.
    moment = pages.c.finished / 60
    minute = cast(moment if sqlite else func.floor(moment), Integer).label("minute")
    failed = cast(pages.c.state == PageState.FAILED.value, Integer)
    query = (
        select(minute, func.sum(1 - failed), func.sum(failed))
        # Key by key, since the index begins with the key.
        .where(pages.c.owner.in_(select(keys.c.id)), pages.c.finished >= since)
        .where(pages.c.state.in_([PageState.DONE.value, PageState.EXPIRED.value, PageState.FAILED.value]))
        .group_by(minute)
        .order_by(minute)
    )
    return [(int(when), int(done), int(lost)) for when, done, lost in connection.execute(query)]
