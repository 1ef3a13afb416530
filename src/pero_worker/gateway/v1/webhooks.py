"""v1: the secret of webhooks, and their deliveries."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.store.deliveries import add_secret, deliveries_of
from pero_worker.gateway.v1.replies import date, ok
from pero_worker.gateway.webhooks import make_secret

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
User = Annotated[Key, Depends(require(Role.USER))]
Reader = Annotated[Key, Depends(require(Role.READONLY, Role.USER))]


@router.post("/secret", status_code=201)
def post_secret(request: Request, key: User) -> Response:
    """Create a secret to sign webhooks with; the previous one still signs as well until the next is created."""
    gateway = gateway_of(request)
    secret = make_secret(gateway.random_bytes(32))
    with gateway.database.write() as connection:
        add_secret(connection, key.id, secret)
    return ok("WEBHOOK_SECRET_CREATED", "Keep the secret, it is not shown again.", {"secret": secret}, status=201)


@router.get("/deliveries")
def get_deliveries(
    request: Request,
    key: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> Response:
    """List the deliveries of this key's webhooks, newest first."""
    with gateway_of(request).database.read() as connection:
        rows = deliveries_of(connection, key.id, cursor, limit + 1)
    items = [
        {
            "id": row["id"],
            "job": row["job"],
            "url": row["url"],
            "state": row["state"],
            "attempts": row["attempts"],
            "status": row["status"],
            "error": row["error"],
            "created": date(row["created"]),
            "next": date(row["next"]),
        }
        for row in rows[:limit]
    ]
    following = rows[limit - 1]["number"] if len(rows) > limit else None
    return ok("DELIVERIES_RETRIEVED", "What was delivered.", {"items": items, "next": following})
