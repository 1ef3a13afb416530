"""The log of what happened to jobs and pages; clients follow it by its increasing numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, text

from pero_worker.gateway.store.schema import events

KEPT_SECONDS = 86_400.0
_ORDER = 7_345_001
_APPEND = insert(events)
_IN_ORDER = text(f"SELECT pg_advisory_xact_lock({_ORDER})")


def append_event(
    connection: Connection, kind: str, *, owner: str, job: str, data: Mapping[str, object], now: float
) -> None:
    if connection.dialect.name == "postgresql":
        # Numbers become visible in order, so a client that has read up to one has missed none before it.
        connection.execute(_IN_ORDER)
    row = {"time": now, "owner": owner, "job": job, "kind": kind, "data": dict(data)}
    connection.execute(_APPEND, row)


def events_after(connection: Connection, number: int, limit: int) -> Sequence[RowMapping]:
    query = select(events).where(events.c.number > number).order_by(events.c.number).limit(limit)
    return connection.execute(query).mappings().all()


def last_event(connection: Connection) -> int:
    return int(connection.execute(select(func.max(events.c.number))).scalar() or 0)


def first_event(connection: Connection) -> int:
    return int(connection.execute(select(func.min(events.c.number))).scalar() or 0)


def forget_events(connection: Connection, now: float) -> None:
    connection.execute(delete(events).where(events.c.time < now - KEPT_SECONDS))
