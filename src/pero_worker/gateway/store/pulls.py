"""Pages that workers pull one by one through the legacy API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, exists, func, select, update

from pero_worker.gateway.states import Api, Backend, PageState
from pero_worker.gateway.store.progress import mark_processing
from pero_worker.gateway.store.schema import engine_numbers, engines, jobs, keys, pages

_TIMEOUT_SECONDS = 60.0
_MINUTE = 60.0


def pull_page(connection: Connection, worker: str, preferred: int, now: float) -> RowMapping | None:
    """Gives this worker a page, preferably of the engine `preferred` (a legacy API number); None if none waits.

    Of the keys with waiting pages, the one with the fewest pages finished in the last minute comes first; the pages of
    revoked keys keep waiting.
    """
    _take_back(connection, now)
    wanted = _engines(connection, preferred) if preferred else []
    owner = (_owner(connection, wanted, now) if wanted else None) or _owner(connection, None, now)
    if owner is None:
        return None
    for engine_ids in ([wanted] if wanted else []) + [None]:
        query = _waiting(engine_ids).where(pages.c.owner == owner).order_by(pages.c.priority.desc(), pages.c.number)
        page = connection.execute(query.limit(1).with_for_update(skip_locked=True)).mappings().first()
        if page is not None:
            break
    else:
        return None
    values = {"state": PageState.PROCESSING.value, "sent_by": worker, "sent": now, "changed": now}
    connection.execute(update(pages).where(pages.c.id == page["id"]).values(values))
    mark_processing(connection, [page["job"]], now)
    connection.execute(update(jobs).where(jobs.c.id == page["job"]).values(changed=now))
    return page


def _waiting(engine_ids: Sequence[str] | None) -> Select[Any]:
    query = select(pages).where(
        pages.c.backend == Backend.LEASE.value,
        pages.c.state == PageState.WAITING.value,
        pages.c.image_uploaded.is_(True),
        exists().where(jobs.c.id == pages.c.job, jobs.c.api == Api.LEGACY.value, jobs.c.worker.is_(None)),
    )
    return query if engine_ids is None else query.where(pages.c.engine.in_(engine_ids))


def _owner(connection: Connection, engine_ids: Sequence[str] | None, now: float) -> str | None:
    recent = (
        select(func.count())
        .select_from(pages)
        .where(pages.c.owner == keys.c.id, pages.c.finished > now - _MINUTE)
        .correlate(keys)
        .scalar_subquery()
    )
    waits = _waiting(engine_ids).where(pages.c.owner == keys.c.id).correlate(keys).exists()
    query = select(keys.c.id).where(keys.c.active.is_(True), waits).order_by(recent, keys.c.created).limit(1)
    found: str | None = connection.execute(query).scalar()
    return found


def _engines(connection: Connection, number: int) -> Sequence[str]:
    query = select(engines.c.id).join(engine_numbers, engine_numbers.c.name == engines.c.name)
    return connection.execute(query.where(engine_numbers.c.number == number)).scalars().all()


def _take_back(connection: Connection, now: float) -> None:
    """Requeues pages whose workers have been silent for a minute."""
    connection.execute(
        update(pages)
        .where(
            pages.c.backend == Backend.LEASE.value,
            pages.c.state == PageState.PROCESSING.value,
            pages.c.sent < now - _TIMEOUT_SECONDS,
        )
        .values(state=PageState.WAITING.value, sent_by=None, sent=None, changed=now)
    )


def engine_number(connection: Connection, engine: str) -> int | None:
    """Returns an engine's id in the legacy API."""
    query = select(engine_numbers.c.number).join(engines, engines.c.name == engine_numbers.c.name)
    found: int | None = connection.execute(query.where(engines.c.id == engine)).scalar()
    return found


def active_engine(connection: Connection, number: int) -> RowMapping | None:
    """Returns the active version of the engine whose id in the legacy API is `number`."""
    query = select(engines).join(engine_numbers, engine_numbers.c.name == engines.c.name)
    query = query.where(engine_numbers.c.number == number, engines.c.active.is_(True))
    return connection.execute(query).mappings().first()


def state_counts(connection: Connection, since: float) -> Sequence[tuple[str, str | None, int]]:
    """Counts pages by state and failure; final pages count only if they ended after `since`."""
    query = (
        select(pages.c.state, pages.c.failure, func.count())
        .where(
            pages.c.state != PageState.CREATED.value,
            pages.c.finished.is_(None) | (pages.c.finished > since),
        )
        .group_by(pages.c.state, pages.c.failure)
    )
    return [(state, failure, count) for state, failure, count in connection.execute(query).all()]
