"""Prometheus metrics of a whole cluster, all from one look at it, so that no worker need be scraped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import pero_worker
from pero_worker.cluster.state import PAYLOAD_STORE, ClusterState, Look, Severity
from pero_worker.errors import TransientError

_MAX_QUEUES = 100
"""Output queues with a series of their own; the rest are counted together."""
_JOB_QUEUE = "job."
"""Prefix of the queues of single jobs, which share one label."""


class ClusterCollector(Collector):
    """Calls `look` at each scrape. A cluster that cannot be reached shows up as a metric, not as a failed scrape."""

    def __init__(self, look: Callable[[], ClusterState]) -> None:
        self._look = look

    def describe(self) -> list[Metric]:
        """Returns nothing, so that the registry need not look at the cluster on registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "pero_worker_build", "Version of the program that looks.", {"version": pero_worker.__version__}
        )
        try:
            state = self._look()
        except TransientError:
            yield _servers(Look(away=(("ZooKeeper", ""), ("RabbitMQ", ""))))
            return
        yield from families(state)


def exposition(look: Callable[[], ClusterState]) -> bytes:
    """Returns the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(ClusterCollector(look))
    return generate_latest(registry)


def families(state: ClusterState) -> Iterator[Metric]:
    """Yields all metrics of the given state."""
    look = state.look
    yield _servers(look)
    yield from _stages(look)
    yield from _workers(look)
    yield _queues(look)
    yield _gauge("dead_letters", "Messages in pero.dead that no worker could use.", look.dead_letters)
    yield _gauge("watchdog_leads", "Whether a watchdog leads.", bool(look.leader))
    problems = GaugeMetricFamily("pero_worker_problems", "What pero-worker status says is wrong.", labels=["severity"])
    found = Counter(problem.severity for problem in state.problems)
    for severity in (Severity.WARNING, Severity.CRITICAL):
        problems.add_metric([severity.name.lower()], found[severity])
    yield problems


def _servers(look: Look) -> Metric:
    up = GaugeMetricFamily("pero_worker_server_up", "Whether the server answers.", labels=["server"])
    away = {name for name, _ in look.away}
    stores = (PAYLOAD_STORE,) if look.payloads.url else ()
    for name in ("ZooKeeper", "RabbitMQ", *stores):
        up.add_metric([name.lower()], name not in away)
    return up


def _stages(look: Look) -> Iterator[Metric]:
    def family(name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"pero_worker_stage_{name}", text, labels=["stage"])

    waiting = family("waiting_pages", "Pages that wait in the stage's queue.")
    workers = family("workers", "Workers that hold the stage.")
    seconds = family("page_seconds", "Mean duration of a page.")
    failing = family("load_failing", "Whether workers cannot load the stage.")
    disabled = family("disabled", "Whether workers are kept away from the stage.")
    last = family("last_page_timestamp_seconds", "When a page of the stage was done last.")
    unserved = family("unserved_since_timestamp_seconds", "Since when pages have waited that nobody serves.")
    for stage in look.stages:
        label = [stage.name]
        if stage.messages is not None:
            waiting.add_metric(label, stage.messages)
        workers.add_metric(label, stage.workers)
        if stage.mean_seconds is not None:
            seconds.add_metric(label, stage.mean_seconds)
        failing.add_metric(label, bool(stage.trouble))
        disabled.add_metric(label, stage.disabled)
        _add_time(last, label, stage.last_page)
        _add_time(unserved, label, stage.waiting_since)
    yield from (waiting, workers, seconds, failing, disabled, last, unserved)
    alarms = GaugeMetricFamily("pero_worker_rabbitmq_alarm", "Whether RabbitMQ takes no messages.", labels=["resource"])
    for resource in ("disk", "memory"):
        alarms.add_metric([resource], any(resource in alarm for alarm in look.alarms))
    yield alarms


def _workers(look: Look) -> Iterator[Metric]:
    by_status = GaugeMetricFamily("pero_worker_workers", "Workers in each status.", labels=["status"])
    for status, number in sorted(Counter(worker.word.lower() for worker in look.workers).items()):
        by_status.add_metric([status], number)
    up = GaugeMetricFamily(
        "pero_worker_worker_up", "Whether the worker is there; 0: gone without a word.", labels=["worker"]
    )
    pages = CounterMetricFamily("pero_worker_worker_pages", "Pages done since the worker started.", labels=["worker"])
    failures = CounterMetricFamily(
        "pero_worker_worker_failures", "Failed tries since the worker started.", labels=["worker"]
    )
    for worker in look.workers:
        if worker.dead and not worker.gone:
            continue
        up.add_metric([worker.name], not worker.gone)
        pages.add_metric([worker.name], worker.pages)
        failures.add_metric([worker.name], worker.failures)
    yield from (by_status, up, pages, failures)


def _queues(look: Look) -> Metric:
    queues = GaugeMetricFamily(
        "pero_worker_queue_messages", "Messages in queues that are no stages', as results.", labels=["queue"]
    )
    found: Counter[str] = Counter()
    for number, (name, messages) in enumerate(sorted(look.outputs.items())):
        found[_JOB_QUEUE + "*" if name.startswith(_JOB_QUEUE) else name if number < _MAX_QUEUES else "others"] += (
            messages
        )
    for name, messages in sorted(found.items()):
        queues.add_metric([name], messages)
    return queues


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pero_worker_{name}", text, value)


def _add_time(family: GaugeMetricFamily, label: list[str], moment: datetime | None) -> None:
    if moment is not None:
        family.add_metric(label, moment.timestamp())
