"""v1: what a key has had done."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Float, Integer, cast, func, select
from starlette.responses import Response

from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.states import PageState
from pero_worker.gateway.store.schema import engines, keys, pages
from pero_worker.gateway.v1.models import Time
from pero_worker.gateway.v1.replies import ok, seconds_of

router = APIRouter(prefix="/v1", tags=["usage"])
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]
_DAY = 86_400


class By(StrEnum):
    DAY = "day"
    ENGINE = "engine"
    KEY = "key"


@router.get("/usage")
def get_usage(
    request: Request,
    key: Reader,
    begin: Annotated[Time | None, Query(alias="from")] = None,
    end: Annotated[Time | None, Query(alias="to")] = None,
    by: By = By.DAY,
) -> Response:
    """Pages that were read, the workers' seconds and the scans' bytes; administrators see all keys. Energy and cost are
    null as long as nobody measures them."""
    database = gateway_of(request).database
    # SQLite cuts off where PostgreSQL rounds.
    days = pages.c.finished / _DAY
    day = cast(days if database.is_sqlite else func.floor(days), Integer)
    group: Any = {By.DAY: day, By.ENGINE: engines.c.name, By.KEY: keys.c.label}[by]
    query = (
        select(
            group.label("group"),
            func.count().label("pages"),
            func.sum(cast(pages.c.state == PageState.FAILED.value, Integer)).label("failed"),
            func.coalesce(func.sum(pages.c.worker_seconds), 0.0).cast(Float).label("seconds"),
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
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    items = [
        {
            by.value: _day(row["group"]) if by is By.DAY else row["group"],
            "pages": row["pages"],
            "failed": int(row["failed"] or 0),
            "worker_seconds": round(float(row["seconds"]), 3),
            "image_bytes": int(row["bytes"]),
            "energy_joules": None,
            "cost": None,
        }
        for row in rows
    ]
    return ok("USAGE_RETRIEVED", "What was done.", {"items": items, "next": None})


def _day(number: int | None) -> str | None:
    return None if number is None else datetime.fromtimestamp(number * _DAY, UTC).date().isoformat()
