"""Webhook deliveries: those still due, and those already made."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from pero_worker.gateway.store.schema import deliveries, keys

PAUSES = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds to wait after each failed attempt; after the last pause and one more failure, the delivery is given up."""
_HELD_SECONDS = 60.0
"""How long other gateways leave a delivery alone while one attempts it."""


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


def add_delivery(connection: Connection, job: RowMapping, state: str, now: float) -> None:
    """Queues a delivery if the job has a webhook that subscribes to this state."""
    webhook = job["webhook"]
    kind = f"job.{state}"
    if not webhook or (webhook.get("events") and kind not in webhook["events"]):
        return
    data = {"id": job["id"], "state": state, "name": job["name"], "labels": job["labels"], "pages": job["pages"]}
    body = {"type": kind, "timestamp": datetime.fromtimestamp(now, UTC).isoformat(), "data": data}
    connection.execute(
        insert(deliveries).values(
            id=f"msg_{uuid.uuid4().hex}",
            owner=job["owner"],
            job=job["id"],
            url=webhook["url"],
            body=json.dumps(body),
            state=DeliveryState.PENDING.value,
            next=now,
            created=now,
        )
    )


def take_due(connection: Connection, now: float) -> RowMapping | None:
    """Returns the next delivery that is due, and holds it so that no other gateway takes it meanwhile."""
    query = (
        select(deliveries)
        .where(deliveries.c.state == DeliveryState.PENDING.value, deliveries.c.next <= now)
        .order_by(deliveries.c.next)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).mappings().first()
    if row is not None:
        connection.execute(update(deliveries).where(deliveries.c.id == row["id"]).values(next=now + _HELD_SECONDS))
    return row


def note_attempt(connection: Connection, row: RowMapping, status: int | None, error: str, now: float) -> None:
    """Records an attempt: 2xx means delivered, 410 means never again, the rest is retried until `PAUSES` run out."""
    attempts = row["attempts"] + 1
    values: dict[str, Any] = {"attempts": attempts, "status": status, "error": error[:500] or None}
    if status is not None and 200 <= status < 300:
        values |= {"state": DeliveryState.DELIVERED.value, "next": None}
    elif status == 410 or attempts > len(PAUSES):
        values |= {"state": DeliveryState.FAILED.value, "next": None}
    else:
        values["next"] = now + PAUSES[attempts - 1]
    connection.execute(update(deliveries).where(deliveries.c.id == row["id"]).values(values))


def deliveries_of(connection: Connection, owner: str, before: int | None, limit: int) -> Sequence[RowMapping]:
    query = select(deliveries).where(deliveries.c.owner == owner)
    if before is not None:
        query = query.where(deliveries.c.number < before)
    return connection.execute(query.order_by(deliveries.c.number.desc()).limit(limit)).mappings().all()


def secrets_of(connection: Connection, owner: str) -> list[str]:
    """Returns the key's signing secrets, newest first."""
    found = connection.execute(select(keys.c.webhook_secrets).where(keys.c.id == owner)).scalar()
    return list(found or [])


def add_secret(connection: Connection, owner: str, secret: str) -> None:
    """Adds a secret; the previous one still signs as well, so that receivers can switch over."""
    kept = [secret, *secrets_of(connection, owner)[:1]]
    connection.execute(update(keys).where(keys.c.id == owner).values(webhook_secrets=kept))
