"""A cluster as the workforce of a run: publish, wait and download in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.pages.fetching import FetchAhead
from pero_worker.cluster.pages.route import check_stages
from pero_worker.cluster.pages.sending import priority_of, reads_layouts, request_for, send_with_retry
from pero_worker.cluster.registry.queuekinds import default_kind
from pero_worker.cluster.registry.stages import read_record
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.coordinators.cancelled import CancelledJob
from pero_worker.errors import JobCancelledError, RequestError, StageError, TransientError
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.job import OpenWorkforce
from pero_worker.jobs.listener import RunListener
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.workforce import DeathListener, PageOutcome, Workforce
from pero_worker.ports import Clock, Payloads
from pero_worker.wire.requests import decode_request
from pero_worker.work import QueueKind

NO_WORKER = "no worker runs: pages wait until one is started (pero-worker worker)"
_PAGES_AHEAD = 200
_QUEUE_EXPIRES_SECONDS = 14 * 86400
"""How long the results of a job that nobody continues are kept."""
_BYTES_AHEAD = 500_000_000
"""How much of this run may be in the cluster, in bytes: enough that workers never run out, without filling up
RabbitMQ."""


def cluster_workforce(
    access: ClusterAccess, stages: Sequence[str], *, dpi: int, priority: int | None = None
) -> OpenWorkforce:
    """Returns a workforce of the `stages` of the cluster behind `access`. Opening it raises `StageError` if a stage
    does not exist, `TransientError` if the cluster cannot be reached."""

    @contextmanager
    def opened(folder: OutputFolder, listener: RunListener) -> Iterator[Workforce]:
        with open_cluster(access) as cluster:
            cluster.broker.tell_notices(listener.notice)
            check_stages(cluster, stages)
            records = [read_record(cluster.zookeeper, name) for name in stages]
            version = "+".join(record.version for record in records)
            if all(worker.dead for worker in read_workers(cluster.zookeeper)):
                listener.notice(NO_WORKER)
            cancelled = CancelledJob(cluster.zookeeper, folder.job_id)
            yield ClusterWorkforce(
                cluster.broker,
                cluster.payloads,
                stages,
                folder.job_id,
                SystemClock(),
                is_cancelled=lambda: cancelled.is_cancelled,
                version=version,
                dpi=dpi,
                priority=priority,
                with_layout=reads_layouts(records[0]),
                queue_kind=default_kind(cluster.zookeeper),
            )

    return opened


class ClusterWorkforce:
    """`Workforce` of the cluster behind `broker`. The job's results come back through a queue of its own, `job.ID`.

    Results of an earlier, interrupted run of the same job are taken from that queue and passed over: their pages are
    published again, and nobody would ever ask for the copies in RabbitMQ.
    """

    def __init__(
        self,
        broker: RabbitBroker,
        payloads: Payloads,
        stages: Sequence[str],
        job: str,
        clock: Clock,
        *,
        version: str,
        dpi: int,
        priority: int | None = None,
        with_layout: bool = False,
        queue_kind: QueueKind = QueueKind.CLASSIC,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """`version` is that of all stages together, `queue_kind` that of the results queue; for `priority` None see
        `priority_of`."""
        self._is_cancelled = is_cancelled
        self.pipeline = "+".join(stages)
        self.version = version
        self._broker = broker
        self._payloads = payloads
        self._stages = tuple(stages)
        self._job = job
        self._clock = clock
        self._dpi = dpi
        self._priority = priority
        self.wants_layout = with_layout
        self._queue_kind = queue_kind
        self._sent = 0
        self._queue = f"job.{job}"
        self._in_cluster: dict[str, int] = {}
        self._reading = ProcessApart()
        self._ahead = FetchAhead(broker)

    def start(self, pages: int, on_death: DeathListener) -> int:
        if pages:
            for stage in self._stages:
                if self._broker.restored(stage) is None:
                    raise StageError(f"the cluster has no stage {stage!r}: see pero-worker stage list")
            self._broker.declare(self._queue, expires=_QUEUE_EXPIRES_SECONDS, kind=self._queue_kind)
        return 0

    def wants_more(self) -> bool:
        return len(self._in_cluster) < _PAGES_AHEAD and sum(self._in_cluster.values()) < _BYTES_AHEAD

    def hand_in(self, page_id: str, task: PageTask) -> None:
        if self._is_cancelled():
            raise JobCancelledError("not sent: the job was cancelled", permanent=True)
        request = request_for(
            task,
            (*self._stages, self._queue),
            job=self._job,
            page_id=page_id,
            now=self._clock.now(),
            dpi=self._dpi,
            apart=self._reading,
            with_layout=self.wants_layout,
            priority=priority_of(self._priority, self._sent),
        )
        size = send_with_retry(self._broker, self._payloads, request, self._clock)
        self._sent += 1
        self._in_cluster[page_id] = size

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        try:
            delivery = self._broker.get((self._queue,), f"job-{self._job}", timeout)
            if delivery is not None:
                self._ahead.saw(delivery.weight)
        except TransientError:
            # The connection is restored automatically; pages in the cluster are safe meanwhile.
            if self._is_forgotten():
                raise TransientError(
                    "RabbitMQ lost the job's pages: give the same command again, and it does those that are missing"
                ) from None
            self._clock.sleep(timeout)
            return ()
        if delivery is None:
            return ()

        in_hand = replace(delivery, body=b"")

        try:
            came = decode_request(delivery.body)
            request = self._payloads.whole(came) if came.page_uuid in self._in_cluster else came
        except RequestError as error:
            with suppress(TransientError):
                self._broker.set_aside(delivery, str(error))
            return ()
        except TransientError:  # The payload store is away.
            self._broker.give_back(delivery)
            self._clock.sleep(timeout)
            return ()
        references = came.references

        def settle() -> None:
            with suppress(TransientError):  # It will be delivered again, and recognised.
                self._broker.ack(in_hand)
                self._payloads.release(references)

        self._in_cluster.pop(request.page_uuid, None)
        return (PageOutcome(page_id=request.page_uuid, request=request, settle=settle),)

    def _is_forgotten(self) -> bool:
        """Returns whether RabbitMQ is up but the job's queue is gone, which means that it lost all its data."""
        try:
            return self._broker.connected and self._broker.state(self._queue) is None
        except TransientError:
            return False

    def stop(self, finished: bool) -> None:
        """Deletes the job's queue if the job is finished; otherwise workers can still deliver there what they have in
        hand."""
        self._reading.close()
        if finished and not self._in_cluster:
            try:
                self._broker.get((), "", 0)
                if self._broker.state(self._queue) is not None:
                    self._broker.delete(self._queue)
            except TransientError:
                return
