"""How much a key may ask: requests a minute, pages a day, pages that wait."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key
from pero_worker.gateway.store.schema import jobs

_DAY = 86_400.0


@dataclass(slots=True, kw_only=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimiter:
    """A bucket of tokens a key, filled evenly; of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: Key, now: float) -> dict[str, str]:
        """Headers that tell what is left; none without a limit. ApiError 429: nothing is left."""
        limit = key.requests_per_minute
        if limit is None:
            return {}
        with self._lock:
            bucket = self._buckets.setdefault(key.id, _Bucket(tokens=float(limit), filled=now))
            bucket.tokens = min(float(limit), bucket.tokens + max(0.0, now - bucket.filled) * limit / 60)
            bucket.filled = now
            enough = bucket.tokens >= 1
            bucket.tokens -= enough
            left = bucket.tokens
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
