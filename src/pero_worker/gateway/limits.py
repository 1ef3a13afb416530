"""What a key may use: requests per minute, pages per day, and pages that wait."""

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
    """Keeps how many requests each key has left. Thread-safe."""

    def spend(self, owner: str, limit: int, now: float) -> tuple[bool, float]:
        """Takes one of the owner's tokens, of which there are at most `limit`, refilled evenly within a minute.

        Returns whether there was one, and how many are left.
        """


class OwnBuckets:
    """`Buckets` of this process: on SQLite there is only one."""

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
    """`Buckets` that all gateways on one PostgreSQL database share."""

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
    """Pure: takes a token from a bucket that held `tokens` at the time `filled`.

    Returns whether there was one, and how many are left. Clocks differ and go back, so the latest time at which the
    bucket was looked at counts; otherwise one gateway would refill what another had already refilled.
    """
    present = min(float(limit), tokens + max(0.0, now - filled) * limit / 60)
    return (True, present - 1) if present >= 1 else (False, present)


class RateLimiter:
    """Limits the requests of keys that have a limit."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def take(self, key: Key, now: float) -> dict[str, str]:
        """Counts a request, and returns headers that say how many are left; {} without a limit.

        Raises `ApiError` 429 if none is left.
        """
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
    """Raises `ApiError` 429 if this many new pages are more than the key may have."""
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
