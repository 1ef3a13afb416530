"""The thread between the database and the workers: sends waiting pages in fair order, and records what comes back."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import RowMapping, select

from pero_worker.errors import OutputError, PageError, TransientError
from pero_worker.gateway.backend import PageBackend, ServedEngine, Work, WorkOutcome
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.endings import DEFAULT_FORMATS, Ending, ending_of, failure_ending
from pero_worker.gateway.fairness import FairShare
from pero_worker.gateway.outcomes import settle_page
from pero_worker.gateway.states import OPEN_PAGES, Failure
from pero_worker.gateway.store import dispatch
from pero_worker.gateway.store.engines import find_engines, serve_engine
from pero_worker.gateway.store.schema import jobs, pages
from pero_worker.inputs.documents import count_pages
from pero_worker.ports import Clock

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_BEAT_SECONDS = 1.0
_AFTER_TROUBLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    owner: str
    share: float


class Dispatcher:
    """The dispatcher of a gateway. `instance` names this process among those that share the database."""

    def __init__(
        self, gateway: Gateway, backend: PageBackend, clock: Clock, instance: str, *, default_engine: bool = True
    ) -> None:
        self._gateway = gateway
        self._backend = backend
        self._clock = clock
        self._instance = instance
        self._default_engine = default_engine
        self._fair = FairShare()
        self._served: dict[str, ServedEngine] = {}
        self._engines: dict[str, tuple[str, ...]] = {}
        self._last_beat = float("-inf")
        self._unwritten: deque[WorkOutcome] = deque()
        """Outcomes that came back and are not recorded yet."""
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Starts the backend and the thread.

        Raises `StageError` if an engine cannot be used, and `TransientError` if the database does not answer.
        """
        now = self._gateway.now()
        served = self._backend.start()
        with self._gateway.database.write() as connection:
            if self._gateway.settings.uses_sqlite:  # We are alone: requeue what others had sent.
                dispatch.take_over(connection, float("inf"), carried=self._backend.carried, now=now)
            dispatch.beat(connection, self._instance, now)
            for number, engine in enumerate(served):
                serve_engine(
                    connection,
                    name=engine.name,
                    version=engine.version,
                    description=engine.description,
                    stages=engine.stages,
                    default=self._default_engine and number == 0,
                    now=now,
                )
        self._served = {engine.name: engine for engine in served}
        self._gateway.trouble = self._backend.trouble
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread and the workers; pages in their hands are requeued for the next start."""
        self._gateway.stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._backend.close()
        try:
            with self._gateway.database.write() as connection:
                dispatch.retire(connection, self._instance)
                dispatch.take_over(connection, float("-inf"), carried=self._backend.carried, now=self._gateway.now())
        except TransientError as error:
            logger.warning("could not sign off: %s", error)

    def _run(self) -> None:
        while not self._gateway.stopping.is_set():
            try:
                self._beat()
                self._find_lost()
                self._send_waiting()
                self._unwritten.extend(self._backend.outcomes(_POLL_SECONDS))
                while self._unwritten:
                    self._conclude(self._unwritten[0])
                    self._unwritten.popleft()
            except (TransientError, OutputError) as error:
                logger.warning("pages wait: %s", error)
                self._gateway.stopping.wait(_AFTER_TROUBLE_SECONDS)
            except Exception:
                logger.exception("the dispatcher met a bug")
                self._gateway.stopping.wait(_AFTER_TROUBLE_SECONDS)

    def _beat(self) -> None:
        if self._clock.monotonic() - self._last_beat < _BEAT_SECONDS:
            return
        self._last_beat = self._clock.monotonic()
        now, settings = self._gateway.now(), self._gateway.settings
        lost: Sequence[RowMapping] = ()
        with self._gateway.database.write() as connection:
            dispatch.beat(connection, self._instance, now)
            orphans = dispatch.take_over(
                connection, now - settings.instance_timeout, carried=self._backend.carried, now=now
            )
            if self._backend.carried:
                lost = dispatch.send_again(connection, now - settings.resend_after, now, blamed=True)
            self._engines = {
                engine["id"]: self._served[name].stages
                for name in self._served
                for engine in find_engines(connection, name=name, backend="farm")
            }
            known = {*self._backend.sent(), *(outcome.page for outcome in self._unwritten)}
            orphans += dispatch.take_back(connection, self._instance, known, now)
            gone = sorted({*self._backend.sent()} - dispatch.still_open(connection, self._backend.sent()))
        self._backend.drop(gone)
        if orphans:
            logger.warning("%d pages whose gateway died are sent again", orphans)
        self._after_loss(lost)

    def _find_lost(self) -> None:
        lost = self._backend.lost()
        if lost is None:
            return
        with self._gateway.database.write() as connection:
            rows = dispatch.send_again(connection, lost.before, self._gateway.now(), blamed=not lost.all_gone)
        # Only now: a gateway that finds the carrier ready does not look for lost pages.
        self._backend.begin_anew()
        self._after_loss(rows)

    def _after_loss(self, lost: Sequence[RowMapping]) -> None:
        """Gives up pages that are lost again and again: who knows what they do to the cluster."""
        again = len(lost)
        for page in lost:
            if page["sends"] >= self._gateway.settings.max_attempts:
                reason = f"the cluster lost it {page['sends']} times: see pero-worker dead list"
                self._finish(page["id"], page["job"], failure_ending(page["id"], Failure.PROCESSING_FAILED, reason))
                again -= 1
        if again:
            logger.warning("%d pages that the cluster has lost are sent again", again)

    def _send_waiting(self) -> None:
        room, served = self._backend.room(), list(self._engines)
        while room > 0 and served:
            with self._gateway.database.read() as connection:
                waiting = dispatch.waiting_owners(connection, served)
            self._fair.forget(waiting)
            if not waiting:
                return
            claimed = self._claim(waiting, served, room)
            if not claimed:
                return
            for row, sent in claimed:
                self._send(row, sent)
            room = min(room - len(claimed), self._backend.room())

    def _claim(
        self, waiting: Sequence[tuple[str, float]], served: Sequence[str], room: int
    ) -> list[tuple[RowMapping, _Sent]]:
        """Claims pages in one transaction, one at a time from the key whose turn it is."""
        shares = dict(waiting)
        claimed: list[tuple[RowMapping, _Sent]] = []
        with self._gateway.database.write() as connection:
            while shares and len(claimed) < room:
                owner = self._fair.next(list(shares.items()))
                rows = dispatch.claim_pages(connection, owner, served, 1, self._instance, self._gateway.now())
                if not rows:
                    del shares[owner]
                    continue
                self._fair.charge(rows[0]["id"], owner, shares[owner])
                claimed.append((rows[0], _Sent(owner=owner, share=shares[owner])))
        return claimed

    def _send(self, row: RowMapping, sent: _Sent) -> None:
        path = self._gateway.files.image(row["job"], row["document"] or row["id"])
        work = Work(
            page=row["id"],
            job=row["job"],
            path=path,
            frame=row["frame"],
            whole_file=(row["frames"] or 1) == 1,
            name=row["name"],
            stages=self._engines[row["engine"]],
            source=f"{row['job']}/{row['name']}",
            priority=row["priority"],
            traceparent=self._gateway.traces.sending(row, self._gateway.now()) if self._gateway.traces else "",
        )
        try:
            if row["frames"] is None and count_pages(path) != 1:
                raise PageError("it has several pages, and there is one name for it", permanent=True)
            self._backend.send(work)
        except (PageError, OSError) as error:
            self._finish(row["id"], row["job"], failure_ending(row["id"], Failure.INVALID_FILE, str(error)))
        except TransientError:
            with self._gateway.database.write() as connection:
                dispatch.unsend(connection, row["id"], self._gateway.now())
            self._fair.settle(row["id"], None)
            raise
        else:
            logger.info("page sent", extra={"page": row["id"], "job": row["job"], "trace": row["trace"]})
            if self._backend.carried:
                with self._gateway.database.write() as connection:
                    dispatch.confirm_sent(connection, row["id"], self._gateway.now())

    def _conclude(self, outcome: WorkOutcome) -> None:
        query = (
            select(pages.c.job, pages.c.name, pages.c.state, pages.c.attempts, jobs.c.formats)
            .join(jobs, jobs.c.id == pages.c.job)
            .where(pages.c.id == outcome.page)
        )
        with self._gateway.database.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None or row["state"] not in OPEN_PAGES:
            self._fair.settle(outcome.page, None)
        else:
            if self._gateway.traces and outcome.request and not self._backend.carried:
                self._gateway.traces.read_here(outcome.request, row["attempts"])
            self._finish(outcome.page, row["job"], self._ending(outcome, row))
        outcome.settle()

    def _ending(self, outcome: WorkOutcome, row: RowMapping) -> Ending:
        try:
            return ending_of(outcome, row["name"], row["formats"] or DEFAULT_FORMATS, self._clock)
        except Exception:  # A page that triggers a bug must not come back for ever.
            logger.exception("page %s: its result could not be read", outcome.page)
            return failure_ending(outcome.page, Failure.PROCESSING_FAILED, "the result could not be read")

    def _finish(self, page: str, job: str, ending: Ending) -> None:
        first = settle_page(self._gateway, job, ending.end, ending.contents)
        self._fair.settle(page, ending.end.worker_seconds)
        if not first:  # Another gateway was quicker, or the page was cancelled in the meantime.
            return
        told = replace(ending.end, seconds={})
        logger.info(
            "page finished",
            extra={
                "page": page,
                "job": job,
                "worker_seconds": told.worker_seconds,
                "failure": told.failure,
                "error": told.error or None,
            },
        )
