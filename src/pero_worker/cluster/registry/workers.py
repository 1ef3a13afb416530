"""The workers in ZooKeeper: what they report about themselves, and commands to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from pero_worker.coordinators.session import read_leaves, wait_for
from pero_worker.errors import UsageError
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE
from pero_worker.work import WorkerStatus

ZK_CONNECTION_FAILED = "ZK_CONNECTION_FAILED"
"""Never written: stands for a worker that is not connected and did not report that it stopped."""
_MAX_COUNT = 2**53
"""Larger values cannot be counts, and Prometheus could not represent them exactly."""
LEAVES = ("status", "queue", "stages", "enabled", "unlock_time", "message", "info", "status/connected")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """A worker as recorded in ZooKeeper."""

    name: str
    """Name, unique in the cluster."""
    status: str
    """A `WorkerStatus`, ZK_CONNECTION_FAILED, or whatever else was written."""
    stages: tuple[str, ...] = ()
    """The stages it is assigned."""
    takes_lists: bool = False
    """Whether it can be assigned several stages."""
    enabled: bool = True
    """Whether it may be assigned anything."""
    connected: bool = False
    """Whether it is connected."""
    unlock_time: datetime | None = None
    """When it may next be assigned something else."""
    message: str = ""
    """Its explanation of its status."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What it reports about itself; upstream's workers report nothing."""
    unreadable: tuple[str, ...] = ()
    """Its nodes whose values make no sense; they count as unset."""
    since: datetime | None = None
    """When it took on its status; if it is gone, when it was last heard of."""

    @property
    def failures(self) -> int:
        """Failed attempts since it started."""
        return _count(self.facts.get("failures"))

    @property
    def pages(self) -> int:
        """Pages done since it started."""
        return _count(self.facts.get("pages"))

    @property
    def last_error(self) -> str:
        """What it is waiting for or cannot load, otherwise its last failed page with the time; '' = nothing."""
        if self.message:
            return self.message.splitlines()[0]
        found = self.facts.get("last_error")
        return f"{found.get('when', '')} {found.get('text', '')}" if isinstance(found, dict) else ""

    @property
    def failed(self) -> tuple[datetime | None, str]:
        """When and how it last failed without being stopped by it; '' = never."""
        found = self.facts.get("last_error")
        return _noted(found, "when") if isinstance(found, dict) else (None, "")

    @property
    def failing(self) -> tuple[datetime | None, str]:
        """Since when, and why, it has made no progress although it tries; '' = it works, or has nothing to do."""
        found = self.facts.get("failing")
        return _noted(found, "since") if isinstance(found, dict) else (None, "")

    @property
    def labels(self) -> frozenset[str]:
        """Labels that stages may require of their workers; upstream's workers have none."""
        found = self.facts.get("labels")
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    @property
    def gone(self) -> bool:
        """Whether it vanished without reporting that it stopped."""
        return self.status == ZK_CONNECTION_FAILED

    @property
    def word(self) -> str:
        """Its status for people: `gone` and `stopped` where the recorded status would mislead."""
        return {ZK_CONNECTION_FAILED: "gone", WorkerStatus.DEAD.value: "stopped"}.get(self.status, self.status)

    @property
    def stage(self) -> str:
        return self.stages[0] if self.stages else ""

    @property
    def dead(self) -> bool:
        return self.status in {WorkerStatus.DEAD, ZK_CONNECTION_FAILED}


def _count(found: object) -> int:
    """Returns 0 for anything that is not a count, as anybody may have written it."""
    return found if isinstance(found, int) and 0 <= found <= _MAX_COUNT else 0


def _noted(found: Mapping[str, Any], time: str) -> tuple[datetime | None, str]:
    try:
        moment = datetime.fromisoformat(str(found.get(time)))
    except ValueError:
        moment = None
    return moment if moment and moment.tzinfo else None, str(found.get("text", ""))


def worker_names(client: KazooClient) -> tuple[str, ...]:
    try:
        found = wait_for(client, lambda: client.get_children_async(TREE.workers))
    except NoNodeError:
        return ()
    return tuple(sorted(name for name in found if wire.is_name(name)))


def read_worker(client: KazooClient, name: str) -> WorkerState:
    return state_from(name, read_leaves(client, TREE.worker(name), LEAVES))


def state_from(name: str, found: Mapping[str, tuple[bytes, Any]]) -> WorkerState:
    """Builds the state from those of the worker's nodes `LEAVES` that exist: value and stat of each."""
    values = {leaf: value for leaf, (value, _) in found.items()}
    # Workers of upstream's first release never have a node `connected`; their status is all there is.
    once_connected = "status" in found and found["status"][1].cversion > 0
    status = wire.decode_text(values.get("status", b""))
    connected = "status/connected" in values
    vanished = once_connected and not connected and status != WorkerStatus.DEAD
    return WorkerState(
        name=name,
        status=ZK_CONNECTION_FAILED if vanished else status,
        stages=wire.held_stages(values.get("queue", b""), values.get("stages", b"")),
        takes_lists="stages" in values,
        enabled=wire.decode_flag(values.get("enabled", b"")),
        connected=connected,
        unlock_time=wire.decode_time(values.get("unlock_time", b"")),
        message=wire.decode_text(values.get("message", b"")),
        facts=wire.decode_info(values.get("info", b"")),
        unreadable=wire.unreadable(values),
        since=_last_change(found, ("status", "info", "message") if vanished else ("status",)),
    )


def _last_change(found: Mapping[str, tuple[bytes, Any]], leaves: Sequence[str]) -> datetime | None:
    """Returns when the worker itself last wrote one of the nodes."""
    changes = [found[leaf][1].mtime for leaf in leaves if leaf in found]
    return datetime.fromtimestamp(max(changes) / 1000, UTC) if changes else None


def read_workers(client: KazooClient) -> tuple[WorkerState, ...]:
    return tuple(read_worker(client, name) for name in worker_names(client))


def assign(client: KazooClient, worker: str, stage: str) -> None:
    """Assigns `stage` alone to the worker ('' = nothing). Raises `UsageError` if there is no such worker."""
    if client.exists(TREE.worker(wire.check_name(worker, "worker"), "stages")) is not None:
        _set(client, worker, "stages", b"")
    _set(client, worker, "queue", wire.encode_text(stage))


def stop(client: KazooClient, worker: str) -> None:
    """Asks the worker to stop after the page in hand. Raises `UsageError` if there is no such worker."""
    _set(client, worker, "enabled", wire.encode_flag(False))


def remove(client: KazooClient, worker: str) -> None:
    """Forgets a worker that is gone. Raises `UsageError` if it is still connected or unknown."""
    path = TREE.worker(wire.check_name(worker, "worker"))
    if client.exists(path) is None:
        raise UsageError(f"there is no worker {worker!r}: see pero-worker workers list")
    if client.exists(f"{path}/status/connected") is not None:
        raise UsageError(f"worker {worker} is connected: stop it first with pero-worker workers stop {worker}")
    client.delete(path, recursive=True)


def _set(client: KazooClient, worker: str, leaf: str, value: bytes) -> None:
    try:
        client.set(TREE.worker(wire.check_name(worker, "worker"), leaf), value)
    except NoNodeError:
        raise UsageError(f"there is no worker {worker!r}: see pero-worker workers list") from None
