"""Creates and changes stages in ZooKeeper as upstream does, and removes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError

from pero_worker.cluster.registry.queuekinds import (
    TAKEN_AWAY,
    default_kind,
    forget_output,
    is_stage,
    note_output,
    registered_kind,
    said_kind,
)
from pero_worker.cluster.registry.stages import MAX_SHARE, read_history, read_version
from pero_worker.coordinators.session import read_leaves
from pero_worker.errors import StageError, UsageError
from pero_worker.ports import Queues
from pero_worker.stage import Stage, parse_config
from pero_worker.stores.location import check_no_login
from pero_worker.wire import tree as wire
from pero_worker.wire.history import StageVersion, encode_history, withdrawn, without
from pero_worker.wire.tree import TREE
from pero_worker.work import QueueKind
from pero_worker.worker.timelimit import limit_of

MAX_CONFIG_BYTES = 900_000
"""Limit in bytes. ZooKeeper refuses nodes of more than 1 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChange:
    """What to change in a stage; None leaves a value as it is."""

    config: str | None = None
    """Text of its configuration."""
    archive: str | None = None
    """Where its model is stored."""
    version: str | None = None
    """Its version; None, with a new configuration or archive: the time of the change."""
    priority: int | None = None
    """Stages with a higher priority get workers first; -1 disables the stage."""
    archive_digest: str | None = None
    """SHA-256 of the archive."""
    keep_version: bool = False
    """Whether the version stays, although the configuration or archive changes."""
    sharing: Mapping[str, str | float] = field(default_factory=dict)
    """Fields of `Sharing` that change."""
    queue: QueueKind | None = None
    """Kind of its queue; None: unchanged, or for a new stage the cluster's default."""


def read_config(path: Path) -> str:
    """Returns the text of a config.ini. Raises `UsageError` if it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def save_stage(
    client: KazooClient,
    queues: Queues,
    name: str,
    change: StageChange,
    now: datetime,
    *,
    before: StageVersion | None = None,
    withdraws: bool = False,
) -> None:
    """Creates or changes a stage; without any configuration it is an output queue. Its state `before` (None: the
    present one) is kept in its history, marked as rolled back if `withdraws`."""
    wire.check_name(name)
    if change.config is not None:
        parse_config(change.config, name)
        limit_of(Stage(name=name, config=change.config, version=""))
        if len(change.config.encode()) > MAX_CONFIG_BYTES:
            raise UsageError(f"the configuration of {name} is larger than {MAX_CONFIG_BYTES // 1000} kB")
    if change.archive:
        check_no_login(change.archive)
    if change.priority is not None and change.priority < -1:
        raise UsageError(f"priority {change.priority}: 0 or more, or -1 to disable the stage")
    share = float(change.sharing.get("share", 1.0))
    if not 0 < share < MAX_SHARE:
        raise UsageError(f"share {share:g}: a number above 0, 1 is an owner's ordinary part")
    values = _values(change, now)
    if change.sharing:
        old = read_leaves(client, TREE.stage(name), ("sharing",)).get("sharing", (b"",))[0]
        values["sharing"] = wire.encode_info({**wire.decode_info(old), **change.sharing})
    if change.config is not None or change.archive is not None:
        values |= _history(client, name, values, before, withdraws=withdraws)
    kind = "" if said_kind(client, name) == TAKEN_AWAY else None
    if change.queue is not None:
        queues.convert(name, change.queue)
        kind = change.queue
    if not values and not is_stage(client, name):
        # Not among the stages: upstream's watchdog would send workers to it.
        note_output(client, name, kind)
    else:
        forget_output(client, name)
        values |= {"queue_type": wire.encode_text(kind)} if kind is not None else {}
    if values:
        _write(client, name, values)
    queues.declare(name, kind=registered_kind(client, name) or default_kind(client))


def _history(
    client: KazooClient, name: str, values: Mapping[str, bytes], before: StageVersion | None, *, withdraws: bool
) -> dict[str, bytes]:
    """Returns the node `history` after a change to `values`; empty if there is nothing to remember."""
    if client.exists(TREE.stage(name)) is None:
        return {}
    before = before or read_version(client, name)
    after = wire.decode_text(values.get("config_version", before.version.encode()))
    if not before.config or after == before.version:
        return {}
    earlier = without(read_history(client, name), before.version)
    return {
        "history": encode_history(without((*earlier, withdrawn(before) if withdraws else before), after)),
    }


def remove_stage(client: KazooClient, queues: Queues, name: str, *, keep_config: bool = False) -> int:
    """Removes the configuration, then the queue, so that nobody recreates the queue. Returns how many messages were in
    it."""
    state = queues.state(wire.check_name(name))
    exists = is_stage(client, name)
    forget_output(client, name)
    if state is None and not exists:
        raise StageError(f"there is neither a stage nor a queue {name!r}")
    if exists and keep_config:
        _write(client, name, {"queue_type": wire.encode_text(TAKEN_AWAY)})
    elif exists:
        client.delete(TREE.stage(name), recursive=True)
    if state is not None:
        queues.delete(name)
    return state.messages if state else 0


def _values(change: StageChange, now: datetime) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    if change.config is not None:
        values["config"] = wire.encode_text(change.config)
    if change.archive is not None:
        values["config_path"] = wire.encode_text(change.archive)
        values["archive_digest"] = wire.encode_text(change.archive_digest or "")
    if change.priority is not None:
        values["administrative_priority"] = wire.encode_priority(max(change.priority, 0))
        values["disabled"] = wire.encode_flag(change.priority == -1)
    renewed = change.config is not None or change.archive is not None
    if change.version is not None or (renewed and not change.keep_version):
        wanted = now.isoformat() if change.version in {None, "now"} else str(change.version)
        # Last in the transaction, so that whoever watches the version finds the rest in place.
        values["config_version"] = wire.encode_text(wanted)
    return values


def _write(client: KazooClient, name: str, values: dict[str, bytes]) -> None:
    # Upstream's watchdog skips a stage that lacks one of these, and its workers fail without the lock.
    defaults = {
        "config": b"",
        "config_path": b"",
        "config_version": b"",
        "administrative_priority": wire.encode_priority(0),
        "avg_msg_time": b"",
        "avg_msg_time_lock": b"",
        "waiting_since": b"",
    }
    client.ensure_path(TREE.stages)
    transaction = client.transaction()
    if client.exists(TREE.stage(name)) is None:
        transaction.create(TREE.stage(name))
    for leaf, value in {**defaults, **values}.items():
        path = TREE.stage(name, leaf)
        if client.exists(path) is None:
            transaction.create(path, value)
        elif leaf in values:
            transaction.set_data(path, value)
    for result in transaction.commit():
        if isinstance(result, NodeExistsError):
            raise UsageError(f"stage {name} was changed by somebody else at this moment: try again")
        if isinstance(result, Exception):
            raise UsageError(f"stage {name} could not be written: {type(result).__name__}")
