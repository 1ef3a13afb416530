"""A cluster as the gateway's backend: pages go to the queues of their stages, and results come back through our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from pero_worker.cluster.opening import Cluster
from pero_worker.cluster.pages.sending import image_payload
from pero_worker.cluster.registry.queuekinds import default_kind
from pero_worker.cluster.registry.stages import read_record, stage_names
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.errors import PageError, RequestError, TransientError
from pero_worker.gateway.backend import Lost, ServedEngine, Work, WorkOutcome
from pero_worker.gateway.silence import Silence
from pero_worker.jobs.apart import ProcessApart
from pero_worker.ports import Clock
from pero_worker.request import Request
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.work import Delivery, WorkerStatus

RESULTS_QUEUE = "gateway.results"
"""All gateways of a cluster share this queue: whichever takes a result records it."""
_LEAST_AHEAD, _MOST_AHEAD = 16, 200
_AHEAD_OF_A_WORKER = 4
_LOOK_SECONDS = 5.0
_TAKEN_AT_ONCE = 50
_DPI = 300


class ClusterBackend:
    """The `PageBackend` of an open cluster. `engines` maps names to stages; if empty, each stage is an engine."""

    carried = True

    def __init__(self, cluster: Cluster, engines: Mapping[str, Sequence[str]], clock: Clock) -> None:
        self._cluster = cluster
        self._engines = engines
        self._clock = clock
        self._sent: set[str] = set()
        self._ahead = _LEAST_AHEAD
        self._looked = float("-inf")
        self._stages: frozenset[str] = frozenset()
        self._silence = Silence()
        self._is_new = False
        self._trouble = ""
        self._reading = ProcessApart()

    def start(self) -> Sequence[ServedEngine]:
        client = self._cluster.zookeeper
        # A missing result queue is not declared here: it shows `lost` that the pages sent before are gone.
        engines = self._engines or {name: (name,) for name in stage_names(client) if read_record(client, name).config}
        served = []
        for name, stages in engines.items():
            versions = [read_record(client, stage).version for stage in stages]
            served.append(ServedEngine(name=name, version="+".join(versions) or "?", stages=tuple(stages)))
        self._stages = frozenset(stage for engine in served for stage in engine.stages)
        return served

    def room(self) -> int:
        """Allows a few pages per worker: with more, a small job would wait behind those of a large one."""
        return max(0, self._ahead - len(self._sent))

    def lost(self) -> Lost | None:
        """Detects a broker that is new, as it lacks our queue, and one that kept its queues but lost the pages: it is
        silent."""
        if self._clock.monotonic() - self._looked < _LOOK_SECONDS:
            return None
        self._looked, now = self._clock.monotonic(), self._clock.now().timestamp()
        if self._cluster.broker.state(RESULTS_QUEUE) is None:
            self._is_new = True
            return Lost(before=now, all_gone=True)
        try:
            workers = [worker for worker in read_workers(self._cluster.zookeeper) if not worker.dead]
        except TransientError:  # Pages still go through the broker.
            return None
        self._ahead = min(_MOST_AHEAD, max(_LEAST_AHEAD, _AHEAD_OF_A_WORKER * len(workers)))
        idle = all(worker.status == WorkerStatus.IDLE for worker in workers)
        before = self._silence.look(now, quiet=idle and self._nothing_waits())
        return None if before is None else Lost(before=before, all_gone=False)

    def _nothing_waits(self) -> bool:
        waiting = self._cluster.broker.lengths((RESULTS_QUEUE, *sorted(self._stages)))
        return not any(waiting.values())

    def begin_anew(self) -> None:
        if not self._is_new:
            return
        client, broker = self._cluster.zookeeper, self._cluster.broker
        for stage in sorted(self._stages & set(stage_names(client))):
            broker.restored(stage)
        broker.declare(RESULTS_QUEUE, kind=default_kind(client))
        self._is_new = False
        self._sent.clear()

    def send(self, work: Work) -> None:
        request = Request(
            uuid=work.job,
            page_uuid=work.page,
            stages=(*work.stages, RESULTS_QUEUE),
            results=(
                image_payload(
                    work.path, work.frame, work.name, whole_file=work.whole_file, dpi=_DPI, apart=self._reading
                ),
            ),
            priority=max(0, work.priority + 1),
            start_time=self._clock.now(),
            job=work.job,
            source=work.source,
        )
        broker, stage = self._cluster.broker, work.stages[0]
        try:
            packed = self._cluster.payloads.pack(request, stage)
            broker.publish(stage, encode_request(packed), request.priority, work.traceparent)
        except RequestError as error:
            if broker.state(stage) is None:
                self._trouble = f"the cluster has no stage {stage!r}: see pero-worker stage list"
                raise TransientError(self._trouble) from error
            raise PageError(str(error), permanent=True) from error
        except TransientError as error:
            self._trouble = str(error)
            raise
        self._trouble = ""
        self._sent.add(work.page)

    def outcomes(self, timeout: float) -> Sequence[WorkOutcome]:
        found: list[WorkOutcome] = []
        broker = self._cluster.broker
        try:
            while len(found) < _TAKEN_AT_ONCE:
                delivery = broker.get((RESULTS_QUEUE,), "gateway", 0 if found else timeout)
                if delivery is None:
                    break
                found.extend(self._outcome(delivery))
        except TransientError as error:
            # The connection is re-established by itself.
            self._trouble = str(error)
            self._clock.sleep(timeout)
        else:
            self._trouble = ""
        return found

    def _outcome(self, delivery: Delivery) -> Sequence[WorkOutcome]:
        in_hand = replace(delivery, body=b"")
        try:
            came = decode_request(delivery.body)
            request = self._cluster.payloads.whole(came)
        except RequestError as error:
            with suppress(TransientError):
                self._cluster.broker.set_aside(delivery, str(error))
            return ()
        except TransientError:
            self._cluster.broker.give_back(delivery)
            raise
        references = came.references

        def settle() -> None:
            with suppress(TransientError):  # It will be delivered again, and recognised then.
                self._cluster.broker.ack(in_hand)
                self._cluster.payloads.release(references)

        self._sent.discard(request.page_uuid)
        return (WorkOutcome(page=request.page_uuid, request=request, settle=settle),)

    def sent(self) -> Sequence[str]:
        return tuple(self._sent)

    def drop(self, pages: Sequence[str]) -> None:
        self._sent.difference_update(pages)

    def trouble(self) -> str:
        return self._trouble

    def close(self) -> None:
        """Leaves the cluster open: whoever opened it closes it."""
        self._reading.close()
