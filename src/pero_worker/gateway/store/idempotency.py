"""Keeps replies, so that a client that repeats a request creates nothing twice."""

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
    """Returns the reply of `make`, or its earlier one to this owner under the idempotency key `name` (None: no key).

    Runs in the caller's transaction: the reply is kept if and only if what it describes was created. Raises
    `ApiError` 422 if the key is malformed or was used for another request.
    """
    if name is None:
        return make()
    if not 1 <= len(name) <= 255 or not all("!" <= letter <= "~" for letter in name):
        raise ApiError(422, "IDEMPOTENCY_KEY_INVALID", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
    connection.execute(delete(idempotency).where(idempotency.c.created < now - KEPT_SECONDS))
    flavour: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {"owner": owner, "key": name, "digest": digest, "status": 0, "reply": "", "created": now}
    # Of two simultaneous requests, the second waits here for the first.
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
