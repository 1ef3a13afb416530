"""Jobs and pages as people look at them: a few at a time, with what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Integer, RowMapping, cast, func, select, tuple_

from pero_worker.gateway.states import PageState
from pero_worker.gateway.store.schema import engines, jobs, keys, pages

_LATELY_ROWS, _LATELY_PAGES = 5000, 200
_ALIKE_ROWS = 50_000


def list_jobs(connection: Connection, owner: str | None, before: int | None, limit: int) -> Sequence[RowMapping]:
    """The newest jobs of a key (None: of all) below number `before`, with `engine_name` and `owner_label`."""
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
    """The name of each job's first page: what a job is called that has no name."""
    found = {}
    for job in ids:
        query = select(pages.c.name).where(pages.c.job == job).order_by(pages.c.position, pages.c.number).limit(1)
        found[job] = str(connection.execute(query).scalar() or "")
    return found


def list_failures(connection: Connection, job: str, limit: int) -> Sequence[RowMapping]:
    """The first pages of a job that failed."""
    query = select(pages.c.name, pages.c.failure, pages.c.error).where(
        pages.c.job == job, pages.c.state == PageState.FAILED.value
    )
    return connection.execute(query.order_by(pages.c.position, pages.c.number).limit(limit)).mappings().all()


def can_retry(connection: Connection, job: str) -> bool:
    """Whether a page of the job failed that has a scan."""
    query = select(pages.c.id).where(pages.c.job == job, pages.c.state == PageState.FAILED.value)
    there = pages.c.image_uploaded.is_(True) | pages.c.url.is_not(None)
    return connection.execute(query.where(there).limit(1)).first() is not None


def list_pages(
    connection: Connection, job: str, states: Sequence[str], after: tuple[int, int] | None, limit: int
) -> Sequence[RowMapping]:
    """Pages of a job in their order, behind the one with position and number `after`; in any of `states`, () = all."""
    query = select(pages).where(pages.c.job == job).order_by(pages.c.position, pages.c.number).limit(limit)
    if states:
        query = query.where(pages.c.state.in_(states))
    if after is not None:
        query = query.where(tuple_(pages.c.position, pages.c.number) > after)
    return connection.execute(query).mappings().all()


def page_counts(connection: Connection, job: str) -> Mapping[str, int]:
    """How many pages of a job are in each state."""
    query = select(pages.c.state, func.count()).where(pages.c.job == job).group_by(pages.c.state)
    return {str(state): int(count) for state, count in connection.execute(query)}


def neighbours(connection: Connection, page: RowMapping) -> tuple[str | None, str | None]:
    """Names of the pages before and after this one in its job."""
    place = tuple_(pages.c.position, pages.c.number)
    here = (page["position"], page["number"])
    query = select(pages.c.name).where(pages.c.job == page["job"])
    before = query.where(place < here).order_by(pages.c.position.desc(), pages.c.number.desc()).limit(1)
    after = query.where(place > here).order_by(pages.c.position, pages.c.number).limit(1)
    return connection.execute(before).scalar(), connection.execute(after).scalar()


def engine_figures(connection: Connection, engine: str) -> RowMapping:
    """What an engine has lately done: `pages`, mean `seconds` of workers' time and mean `quality` (percent) of one."""
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
    """Other pages that were read from the same scan, the newest first: with `job_name`, `engine_name`. Of a key (None:
    of all), among the latest."""
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
    """Minutes since 1970 in which pages of any key ended: how many were done, and how many failed."""
    # SQLite cuts off where PostgreSQL rounds.
    moment = pages.c.finished / 60
    minute = cast(moment if sqlite else func.floor(moment), Integer).label("minute")
    failed = cast(pages.c.state == PageState.FAILED.value, Integer)
    query = (
        select(minute, func.sum(1 - failed), func.sum(failed))
        # Key by key, as the index goes by them.
        .where(pages.c.owner.in_(select(keys.c.id)), pages.c.finished >= since)
        .where(pages.c.state.in_([PageState.DONE.value, PageState.EXPIRED.value, PageState.FAILED.value]))
        .group_by(minute)
        .order_by(minute)
    )
    return [(int(when), int(done), int(lost)) for when, done, lost in connection.execute(query)]
