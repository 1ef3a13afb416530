"""Metrics for Prometheus, read from the database when they are requested."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import Connection, func, select
from starlette.responses import Response

import pero_worker
from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.keys import Key
from pero_worker.gateway.states import PageState, ProcessingState
from pero_worker.gateway.store.deliveries import DeliveryState
from pero_worker.gateway.store.schema import deliveries, jobs, pages

router = APIRouter(tags=["health"])
Admin = Annotated[Key, Depends(require())]


@router.get("/metrics")
def get_metrics(request: Request, key: Admin) -> Response:
    """Show metrics in the format of Prometheus; needs an administrator's key."""
    gateway = gateway_of(request)
    with gateway.database.read() as connection:
        lines = [*_counts(connection), *_totals(connection)]
    version = f'pero_worker_gateway_info{{version="{pero_worker.__version__}"}} 1'
    trouble = f"pero_worker_gateway_pages_are_done {int(not gateway.trouble())}"
    text = "".join(f"{line}\n" for line in [version, trouble, *lines])
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _counts(connection: Connection) -> list[str]:
    lines = []
    for name, column, states in (
        ("jobs", jobs.c.state, ProcessingState),
        ("pages", pages.c.state, PageState),
        ("webhooks", deliveries.c.state, DeliveryState),
    ):
        rows = connection.execute(select(column, func.count()).group_by(column)).all()
        counts = {str(state): int(count) for state, count in rows}
        metric = f"pero_worker_gateway_{name}"
        lines.append(f"# TYPE {metric} gauge")
        lines.extend(f'{metric}{{state="{state}"}} {counts.get(state, 0)}' for state in states)
    return lines


def _totals(connection: Connection) -> list[str]:
    query = select(func.sum(pages.c.worker_seconds), func.sum(pages.c.image_bytes))
    seconds, size = connection.execute(query).one()
    oldest = select(func.min(pages.c.changed)).where(pages.c.state == PageState.WAITING.value)
    waiting = connection.execute(oldest).scalar()
    return [
        "# TYPE pero_worker_gateway_worker_seconds_total counter",
        f"pero_worker_gateway_worker_seconds_total {float(seconds or 0):.3f}",
        "# TYPE pero_worker_gateway_image_bytes_total counter",
        f"pero_worker_gateway_image_bytes_total {int(size or 0)}",
        "# TYPE pero_worker_gateway_oldest_waiting_timestamp_seconds gauge",
        f"pero_worker_gateway_oldest_waiting_timestamp_seconds {float(waiting or 0):.3f}",
    ]
