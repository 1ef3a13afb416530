"""Removes what has expired: results, unfinished uploads, old events and replies."""

from __future__ import annotations

import logging

from sqlalchemy import delete, select

from pero_worker.gateway.core import Gateway
from pero_worker.gateway.store.closing import cancel_job, give_up_late_job, late_jobs
from pero_worker.gateway.store.events import forget_events
from pero_worker.gateway.store.retention import abandoned_jobs, expire_job, jobs_to_expire
from pero_worker.gateway.store.schema import uploads

logger = logging.getLogger(__name__)
ROUND_SECONDS = 30.0
DEADLINE_SECONDS = 1.0
_JOBS_AT_ONCE = 50
_DAY = 86_400.0


class Housekeeper:
    """The housekeeper of a gateway; several gateways may tidy the same database."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def tidy(self) -> bool:
        """Tidies up once, and returns whether there is more to do at once."""
        with self._gateway.database.write() as connection:
            forget_events(connection, self._gateway.now())
            for job in abandoned_jobs(connection, self._oldest(), _JOBS_AT_ONCE):
                cancel_job(connection, job, self._gateway.now())
        self._forget_uploads()
        return self._expire_jobs()

    def end_late_jobs(self) -> bool:
        """Ends some jobs whose deadline has passed, and returns whether there may be more."""
        now = self._gateway.now()
        with self._gateway.database.read() as connection:
            if not late_jobs(connection, now, 1):
                return False
        with self._gateway.database.write() as connection:
            late = late_jobs(connection, now, _JOBS_AT_ONCE)
            for job in late:
                give_up_late_job(connection, job, now)
        return len(late) == _JOBS_AT_ONCE

    def _oldest(self) -> float:
        return self._gateway.now() - _DAY * self._gateway.settings.retention_days

    def _expire_jobs(self) -> bool:
        now = self._gateway.now()
        with self._gateway.database.read() as connection:
            found = jobs_to_expire(connection, self._oldest(), now, _JOBS_AT_ONCE)
        for job in found:
            with self._gateway.database.write() as connection:
                expire_job(connection, job, now)
            self._gateway.files.forget_job(job["id"])
            logger.info("job expired", extra={"job": job["id"]})
        return len(found) == _JOBS_AT_ONCE

    def _forget_uploads(self) -> None:
        old = uploads.c.expires < self._gateway.now()
        with self._gateway.database.write() as connection:
            ids = connection.execute(select(uploads.c.id).where(old)).scalars().all()
            if ids:
                connection.execute(delete(uploads).where(uploads.c.id.in_(ids)))
        for upload in ids:
            self._gateway.files.upload(upload).unlink(missing_ok=True)
