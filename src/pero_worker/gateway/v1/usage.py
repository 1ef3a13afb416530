"""v1: how much a key has used."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Float, Integer, RowMapping, case, cast, func, select
from starlette.responses import Response

from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.states import PageState
from pero_worker.gateway.store.schema import engines, keys, pages
from pero_worker.gateway.v1.models import Time
from pero_worker.gateway.v1.replies import cost_data, ok, seconds_of
from pero_worker.jobs.costs import Prices, Use, cost_of

router = APIRouter(prefix="/v1", tags=["usage"])
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]
_DAY = 86_400


class UsageBy(StrEnum):
    DAY = "day"
    ENGINE = "engine"
    KEY = "key"
    JOB = "job"


@router.get("/usage")
def get_usage(
    request: Request,
    key: Reader,
    begin: Annotated[Time | None, Query(alias="from")] = None,
    end: Annotated[Time | None, Query(alias="to")] = None,
    by: UsageBy = UsageBy.DAY,
    job: UUID | None = None,
) -> Response:
    """Show pages read and failed, workers' seconds, scans' bytes, energy and cost; administrators see all keys.

    `energy_is` says how the energy is known: measured, modelled (from watts that the operator states), both, or
    unknown. If it is unknown, the energy is null, and so is a cost that depends on it.
    """
    gateway = gateway_of(request)
    database, prices = gateway.database, gateway.settings.prices
    # The cast truncates in SQLite and rounds in PostgreSQL.
    days = pages.c.finished / _DAY
    day = cast(days if database.is_sqlite else func.floor(days), Integer)
    group: Any = {
        UsageBy.DAY: day,
        UsageBy.ENGINE: engines.c.name,
        UsageBy.KEY: keys.c.label,
        UsageBy.JOB: pages.c.job,
    }[by]
    unmeasured = case((pages.c.energy_joules.is_(None), pages.c.worker_seconds), else_=0.0)
    query = (
        select(
            group.label("group"),
            func.count().label("pages"),
            func.sum(cast(pages.c.state == PageState.FAILED.value, Integer)).label("failed"),
            func.coalesce(func.sum(pages.c.worker_seconds), 0.0).cast(Float).label("seconds"),
            func.coalesce(func.sum(pages.c.energy_joules), 0.0).cast(Float).label("joules"),
            func.coalesce(func.sum(unmeasured), 0.0).cast(Float).label("unmeasured"),
            func.coalesce(func.sum(pages.c.image_bytes), 0).label("bytes"),
        )
        .select_from(pages)
        .outerjoin(engines, engines.c.id == pages.c.engine)
        .outerjoin(keys, keys.c.id == pages.c.owner)
        .where(pages.c.state.in_([PageState.DONE.value, PageState.EXPIRED.value, PageState.FAILED.value]))
        .group_by(group)
        .order_by(group)
    )
    if key.role is not Role.ADMIN:
        query = query.where(pages.c.owner == key.id)
    if begin is not None:
        query = query.where(pages.c.finished >= seconds_of(begin))
    if end is not None:
        query = query.where(pages.c.finished < seconds_of(end))
    if job is not None:
        query = query.where(pages.c.job == str(job))
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    items = [
        {
            by.value: _day(row["group"]) if by is UsageBy.DAY else row["group"],
            "pages": row["pages"],
            "failed": int(row["failed"] or 0),
            "worker_seconds": round(float(row["seconds"]), 3),
            "image_bytes": int(row["bytes"]),
            **_cost(row, prices),
        }
        for row in rows
    ]
    return ok("USAGE_RETRIEVED", "What was done.", {"items": items, "next": None})


def _cost(row: RowMapping, prices: Prices) -> dict[str, object]:
    use = Use(
        pages=row["pages"],
        seconds=float(row["seconds"]),
        joules=float(row["joules"]),
        unmeasured_seconds=float(row["unmeasured"]),
    )
    return cost_data(cost_of(use, prices), prices)


def _day(number: int | None) -> str | None:
    return None if number is None else datetime.fromtimestamp(number * _DAY, UTC).date().isoformat()
