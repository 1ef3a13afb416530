"""A worker of a cluster: the worker of `worker/loop.py`, with its ports connected to the servers."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pero_worker
from pero_worker.brokers.ahead import Ahead
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.access import ClusterAccess
from pero_worker.cluster.logs.sender import sending_logs
from pero_worker.cluster.opening import follow_servers, payload_desk, restore_queues
from pero_worker.cluster.payloads.desk import PayloadDesk
from pero_worker.cluster.payloads.sweep import Sweeper
from pero_worker.cluster.registry.servers import FTP, list_names
from pero_worker.cluster.workers.footprint import check_device, kind_of, memory_for_models, memory_in_use
from pero_worker.cluster.workers.settings import ClusterWorkerSettings
from pero_worker.coordinators.session import session
from pero_worker.coordinators.zookeeper import ZooKeeperCoordinator
from pero_worker.engines import installed_engines
from pero_worker.models.store import ArchiveStore
from pero_worker.ports import Clock
from pero_worker.processes import Lifetime
from pero_worker.stores.location import StoreAccess
from pero_worker.tracing.rabbit import open_rabbit
from pero_worker.wire.tree import check_name
from pero_worker.work import WorkerStatus
from pero_worker.worker.energy import MachineMeter
from pero_worker.worker.loop import Worker, WorkerSettings
from pero_worker.worker.payloads import ImageReader
from pero_worker.worker.steps import StageRunner

logger = logging.getLogger(__name__)
_GROWTH_SECONDS = 0.2
"""How often a worker checks its own size."""
_GUARD_SECONDS = 3.0
"""A worker that has not ended this long after `stop`, or later with a page in hand, has its connection closed; the time
left until it is forced to end is for giving the page back."""


def check_worker(settings: ClusterWorkerSettings) -> None:
    """Raises `StageError` if such a worker can never serve a stage, however often it is started."""
    check_name(settings.name, "worker")
    check_device(settings.device)


def run_worker(
    settings: ClusterWorkerSettings,
    access: ClusterAccess,
    store: StoreAccess,
    lifetime: Lifetime,
    joined: Callable[[], None] = lambda: None,
) -> bool:
    """Works until `lifetime.stop` is set, or until told to stop through ZooKeeper. Returns whether it should be
    restarted.

    `joined` is called once the cluster has accepted the worker.

    Raises `UsageError` if the name is in use, `TransientError` if ZooKeeper is away.
    """
    clock = SystemClock()
    with session(access.zookeeper) as client:
        coordinator = ZooKeeperCoordinator(
            client,
            settings.name,
            clock,
            facts=_facts(settings, clock),
            gone=_is_gone,
            patience=access.zookeeper.session_timeout,
        )
        joined()
        payloads = payload_desk(client, store)
        broker = open_rabbit(access.broker, "pero-worker", settings.name, ahead=Ahead(), expect=payloads.expect)
        if not access.broker.servers:
            follow_servers(client, broker)
        restore_queues(client, broker)

        def look_up() -> None:
            if not coordinator.assignment(settings.name).enabled:
                lifetime.stop.set()
            broker.wake()

        coordinator.watch(look_up)
        models = ArchiveStore(
            settings.cache,
            lambda: settings.stores or list_names(client, FTP),
            store,
            keep=settings.keep,
            pinned_only=not settings.trust_archives,
        )
        worker = _put_together(settings, broker, coordinator, models, payloads, clock)
        payloads.wants = worker.wants
        sweeper = Sweeper(client, payloads)
        sweeper.start()

        def give_back_page() -> None:
            """Gives the page in hand back by closing its connection."""
            logger.warning("the page in hand takes too long, and is given back")
            worker.release_page()
            coordinator.reports.report(
                settings.name, WorkerStatus.DEAD, "stopped with a page in hand, which was given back"
            )
            broker.close()
            coordinator.close()

        too_large = _Growth(settings, clock)

        def should_stop() -> bool:
            return lifetime.stop.is_set() or (worker.handled > 0 and too_large.seen())

        guard = lifetime.guard(
            min(settings.grace, _GUARD_SECONDS),
            told=broker.wake,
            late=give_back_page,
            busy=lambda: worker.busy,
            busy_seconds=max(0.0, settings.grace - _GUARD_SECONDS),
        )
        with guard:
            try:
                with _logs(broker, settings, clock):
                    worker.run(should_stop)
            finally:
                broker.close()
                coordinator.close()
                models.close()
                sweeper.stop()
                payloads.close()
    return not lifetime.stop.is_set()


def _facts(settings: ClusterWorkerSettings, clock: Clock) -> dict[str, Any]:
    """Returns what the worker reports about itself; the watchdog reads kind, labels and memory."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "device": settings.device,
        "kind": kind_of(settings.device),
        "labels": sorted({kind_of(settings.device), *settings.labels}),
        "memory": _model_memory(settings),
        "engines": [f"{engine.name} {engine.version}" for engine in installed_engines() if engine.available],
        "payloads": True,
        "version": pero_worker.__version__,
        "started": clock.now().isoformat(timespec="seconds"),
    }


def _put_together(
    settings: ClusterWorkerSettings,
    broker: RabbitBroker,
    coordinator: ZooKeeperCoordinator,
    models: ArchiveStore,
    payloads: PayloadDesk,
    clock: Clock,
) -> Worker:
    images = ImageReader(max_pixels=settings.max_pixels)
    return Worker(
        settings.name,
        broker=broker,
        assignments=coordinator,
        reports=coordinator.reports,
        suspects=coordinator.reports,
        models=models,
        runner=StageRunner(
            host=settings.name,
            images=images,
            clock=clock,
            max_attempts=settings.max_attempts,
            rotate=settings.rotate,
            energy=MachineMeter(settings.device),
            payloads=payloads,
        ),
        settings=WorkerSettings(device=settings.device, memory_in_use=lambda: memory_in_use(settings.device)),
    )


def _is_gone(facts: Mapping[str, Any]) -> bool:
    """Returns whether a worker on this machine has ended."""
    return facts.get("host") == socket.gethostname() and not Path(f"/proc/{facts.get('pid')}").exists()


class _Growth:
    """Tells whether the process uses more memory than it may; checks a few times a second, however many pages are
    done."""

    def __init__(self, settings: ClusterWorkerSettings, clock: Clock) -> None:
        self._most = settings.max_memory
        self._clock = clock
        self._due = 0.0

    def seen(self) -> bool:
        now = self._clock.monotonic()
        if not self._most or now < self._due:
            return False
        self._due = now + _GROWTH_SECONDS
        return memory_in_use("cpu") > self._most


def _model_memory(settings: ClusterWorkerSettings) -> int | None:
    """Returns the memory for models, in bytes; None: one stage at a time."""
    memory = settings.model_memory
    if memory is None:
        memory = memory_for_models(settings.device, settings.workers_on_device)
    if memory and settings.max_memory and kind_of(settings.device) == "cpu":
        # Stay well below the limit, as a restarted worker loads its models again.
        memory = min(memory, settings.max_memory // 2)
    return memory or None


def _logs(broker: RabbitBroker, settings: ClusterWorkerSettings, clock: Clock) -> AbstractContextManager[object]:
    if not settings.log_queue:
        return nullcontext()
    return sending_logs(broker, settings.name, clock, queue_name=settings.log_queue)
