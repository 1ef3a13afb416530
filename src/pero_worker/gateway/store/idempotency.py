"""Replies that are kept, so that a client that asks the same again makes nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from starlette.responses import Response

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.store.schema import idempotency

KEPT_SECONDS = 86_400.0


def once(
    connection: Connection, owner: str, name: str | None, digest: str, now: float, make: Callable[[], Response]
) -> Response:
    """What `make` answers, or what it answered when the owner asked before under this `name`; None: no name was given.

    All in the caller's transaction: the reply is kept if and only if what it tells of was made. ApiError 422: the name
    was used for something else.
    """
    if name is None:
        return make()
    if not 1 <= len(name) <= 255 or not all("!" <= letter <= "~" for letter in name):
        raise ApiError(422, "IDEMPOTENCY_KEY_INVALID", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
    connection.execute(delete(idempotency).where(idempotency.c.created < now - KEPT_SECONDS))
    flavour: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {"owner": owner, "key": name, "digest": digest, "status": 0, "reply": "", "created": now}
    # Of two at the same time the second waits here for the first.
    if connection.execute(flavour.insert(idempotency).values(values).on_conflict_do_nothing()).rowcount:
        reply = make()
        kept = {"status": reply.status_code, "reply": bytes(reply.body).decode()}
        connection.execute(_of(update(idempotency), owner, name).values(kept))
        return reply
    row = connection.execute(_of(select(idempotency), owner, name)).mappings().one()
    if row["digest"] != digest:
        raise ApiError(422, "IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key was used for another request.")
    content = json.dumps(json.loads(row["reply"])).encode()
    headers = {"Idempotency-Replayed": "true"}
    return Response(content, row["status"], headers, "application/json")


def _of(statement: Any, owner: str, name: str) -> Any:
    return statement.where(idempotency.c.owner == owner, idempotency.c.key == name)
