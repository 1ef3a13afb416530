"""How much a key may ask: requests a minute, pages a day, pages that wait."""

from __future__ import annotations

import math
import threading
from typing import Protocol

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects import postgresql

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key
from pero_worker.gateway.store.database import Database
from pero_worker.gateway.store.schema import jobs, rates

_DAY = 86_400.0


class Buckets(Protocol):
    """Keeps what keys may still ask. Thread-safe."""

    def spend(self, owner: str, limit: int, now: float) -> tuple[bool, float]:
        """One of the owner's tokens, of which there are `limit`, filled evenly in a minute: whether there was one, and
        how many are left."""


class OwnBuckets:
    """`Buckets` of this process: on SQLite it is the only one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def spend(self, owner: str, limit: int, now: float) -> tuple[bool, float]:
        with self._lock:
            tokens, filled = self._buckets.get(owner, (float(limit), now))
            enough, left = spent(tokens, filled, limit, now)
            self._buckets[owner] = (left, max(now, filled))
        return enough, left


class SharedBuckets:
    """`Buckets` of all gateways on a PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spend(self, owner: str, limit: int, now: float) -> tuple[bool, float]:
        with self._database.write() as connection:
            first = postgresql.insert(rates).values(owner=owner, tokens=float(limit), filled=now)
            connection.execute(first.on_conflict_do_nothing())
            mine = select(rates.c.tokens, rates.c.filled).where(rates.c.owner == owner).with_for_update()
            tokens, filled = connection.execute(mine).one()
            enough, left = spent(tokens, filled, limit, now)
            values = {"tokens": left, "filled": max(now, filled)}
            connection.execute(update(rates).where(rates.c.owner == owner).values(values))
        return enough, left


def spent(tokens: float, filled: float, limit: int, now: float) -> tuple[bool, float]:
    """Pure: a bucket that held `tokens` at the time `filled`, after one more is asked for. Clocks differ, and go back:
    the latest time at which the bucket was looked at counts, or one gateway would fill again what another has seen."""
    present = min(float(limit), tokens + max(0.0, now - filled) * limit / 60)
    return (True, present - 1) if present >= 1 else (False, present)


class RateLimiter:
    """Counts requests of keys that have a limit."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def take(self, key: Key, now: float) -> dict[str, str]:
        """Headers that tell what is left; none without a limit. ApiError 429: nothing is left."""
        limit = key.requests_per_minute
        if limit is None:
            return {}
        enough, left = self._buckets.spend(key.id, limit, now)
        headers = {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(int(left)),
            "RateLimit-Reset": str(math.ceil((limit - left) * 60 / limit)),
        }
        if not enough:
            wait = str(max(1, math.ceil((1 - left) * 60 / limit)))
            raise ApiError(429, "QUOTA_EXCEEDED", "Too many requests.", headers={**headers, "Retry-After": wait})
        return headers


def check_quota(connection: Connection, key: Key, new_pages: int, now: float) -> None:
    """ApiError 429: so many more pages are more than the key may have."""
    if key.pages_per_day is not None:
        made = select(func.sum(jobs.c.pages)).where(jobs.c.owner == key.id, jobs.c.created > now - _DAY)
        _refuse_beyond(connection.execute(made).scalar(), new_pages, key.pages_per_day, "pages a day", 3600)
    if key.pages_waiting is not None:
        waiting = select(func.sum(jobs.c.open)).where(jobs.c.owner == key.id, jobs.c.open > 0)
        _refuse_beyond(connection.execute(waiting).scalar(), new_pages, key.pages_waiting, "pages that wait", 60)


def _refuse_beyond(present: int | None, new_pages: int, limit: int, what: str, retry: int) -> None:
    if int(present or 0) + new_pages > limit:
        message = f"This API key may have {limit} {what}."
        raise ApiError(429, "QUOTA_EXCEEDED", message, headers={"Retry-After": str(retry)})
