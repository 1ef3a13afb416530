"""Stages in ZooKeeper: read, saved as upstream saves them, removed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError

from pero_worker.coordinators.session import read_leaves, wait_for
from pero_worker.errors import StageError, UsageError
from pero_worker.ports import Queues
from pero_worker.stage import Sharing, Stage, parse_config
from pero_worker.stores.location import check_no_login
from pero_worker.wire import tree as wire
from pero_worker.wire.history import StageVersion, decode_history, encode_history, withdrawn, without
from pero_worker.wire.measured import Measured, decode_measured
from pero_worker.wire.tree import TREE
from pero_worker.worker.timelimit import limit_of

LEAVES = (
    "config",
    "config_path",
    "config_version",
    "administrative_priority",
    "disabled",
    "avg_msg_time",
    "waiting_since",
    "archive_digest",
    "measured",
    "sharing",
    "trouble",
)
MAX_CONFIG_BYTES = 900_000
"""Bytes. ZooKeeper refuses nodes of more than 1 MB."""
MAX_SHARE = 1e6
MAX_REASON_LENGTH = 1000
"""Characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the watchdog that leads wrote down of a stage that cannot be loaded."""

    version: str
    """Of the stage; another version is another matter."""
    reason: str
    """In a worker's words."""
    since: datetime
    """When the first worker failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """A stage as it stands in ZooKeeper."""

    name: str
    """Of its queue, too."""
    config: str = ""
    """The text of its configuration."""
    archive: str = ""
    """Where its model lies: a path in the store, or a URL."""
    version: str = ""
    """Of configuration and model; any text."""
    priority: int = 0
    """Stages with a higher one get workers first."""
    disabled: bool = False
    """It is not to be served."""
    mean_seconds: float | None = None
    """A page; None: none is done yet."""
    waiting_since: datetime | None = None
    """When its oldest page began to wait; None: none waits."""
    archive_digest: str = ""
    """SHA-256 of the archive; '': not known."""
    measured: Measured = field(default_factory=Measured)
    """What its pages cost."""
    sharing: Sharing = field(default_factory=Sharing)
    """Who may serve it, and whose it is."""
    unreadable: tuple[str, ...] = ()
    """Its nodes whose values make no sense: they count as unset."""
    trouble: Trouble | None = None
    """Why no worker can load it; None: they can, or nobody has tried."""
    last_page: datetime | None = None
    """When a page of it was done last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageChange:
    """What to change of a stage; None: leave it as it is."""

    config: str | None = None
    """The text of its configuration."""
    archive: str | None = None
    """Where its model lies."""
    version: str | None = None
    """None, with a new configuration or archive: the time of the change."""
    priority: int | None = None
    """Stages with a higher one get workers first."""
    archive_digest: str | None = None
    """SHA-256 of the archive."""
    keep_version: bool = False
    """The version stays, although what it stands for changes."""
    sharing: Mapping[str, str | float] = field(default_factory=dict)
    """Fields of `Sharing` that change."""


def read_config(path: Path) -> str:
    """The text of a config.ini. UsageError: it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def stage_names(client: KazooClient) -> tuple[str, ...]:
    """Stages with a configuration, in the order of their names."""
    try:
        found = wait_for(client, lambda: client.get_children_async(TREE.stages))
    except NoNodeError:
        return ()
    # Whatever else stands there is no stage that a queue could be made for.
    return tuple(sorted(name for name in found if wire.is_name(name)))


def read_record(client: KazooClient, name: str) -> StageRecord:
    """StageError: no such stage."""
    found = read_leaves(client, TREE.stage(wire.check_name(name)), LEAVES)
    if not found and wait_for(client, lambda: client.exists_async(TREE.stage(name))) is None:
        known = ", ".join(stage_names(client)) or "none"
        raise StageError(f"there is no stage {name!r}; known: {known}")
    return record_from(name, found)


def record_from(name: str, found: Mapping[str, tuple[bytes, Any]]) -> StageRecord:
    """From the stage's nodes `LEAVES`, as far as they are there: value and stat of each."""
    values = {leaf: value for leaf, (value, _) in found.items()}
    return StageRecord(
        name=name,
        config=wire.decode_text(values.get("config", b"")),
        archive=wire.decode_text(values.get("config_path", b"")),
        version=wire.decode_text(values.get("config_version", b"")),
        priority=wire.decode_priority(values.get("administrative_priority", b"")),
        disabled=wire.decode_flag(values.get("disabled", b"")),
        mean_seconds=wire.decode_seconds(values.get("avg_msg_time", b"")),
        waiting_since=wire.decode_time(values.get("waiting_since", b"")),
        archive_digest=wire.decode_text(values.get("archive_digest", b"")),
        measured=decode_measured(values.get("measured", b"")),
        sharing=_sharing(values.get("sharing", b"")),
        unreadable=wire.unreadable(values),
        trouble=decode_trouble(values.get("trouble", b"")),
        last_page=_changed_at(found.get("avg_msg_time")),
    )


def current_trouble(record: StageRecord) -> Trouble | None:
    """What was written down of this version; of another it is of no interest any more."""
    return record.trouble if record.trouble and record.trouble.version == record.version else None


def write_trouble(client: KazooClient, stage: str, trouble: Trouble | None) -> None:
    """None: there is none any more. A stage that is removed meanwhile needs none."""
    path = TREE.stage(stage, "trouble")
    try:
        client.set(path, encode_trouble(trouble))
    except NoNodeError:
        with suppress(NoNodeError, NodeExistsError):
            client.create(path, encode_trouble(trouble))


def encode_trouble(trouble: Trouble | None) -> bytes:
    """For the node `trouble`; None: there is none any more."""
    if trouble is None:
        return b""
    since = trouble.since.isoformat(timespec="seconds")
    return wire.encode_info({"version": trouble.version, "reason": trouble.reason[:MAX_REASON_LENGTH], "since": since})


def decode_trouble(value: bytes) -> Trouble | None:
    """None when unset, or when it makes no sense."""
    found = wire.decode_info(value)
    version, reason, since = found.get("version"), found.get("reason"), found.get("since")
    if not isinstance(version, str) or not isinstance(reason, str) or not isinstance(since, str):
        return None
    moment = wire.decode_time(since.encode())
    return Trouble(version=version, reason=reason[:MAX_REASON_LENGTH], since=moment) if reason and moment else None


def _changed_at(node: tuple[bytes, Any] | None) -> datetime | None:
    """None: nothing was ever written there."""
    return datetime.fromtimestamp(node[1].mtime / 1000, UTC) if node and node[0] else None


def _sharing(value: bytes) -> Sharing:
    """What of it makes sense."""
    found = wire.decode_info(value)
    known: dict[str, Any] = {}
    for one in fields(Sharing):
        text = found.get(one.name)
        if isinstance(text, str) and isinstance(one.default, str):
            known[one.name] = text
    share = found.get("share")
    if isinstance(share, int | float) and 0 < share < MAX_SHARE:
        known["share"] = float(share)
    return Sharing(**known)


def read_version(client: KazooClient, name: str) -> StageVersion:
    """What the stage is now; without a configuration where it is an output queue. StageError: no such stage."""
    record = read_record(client, name)
    found = read_leaves(client, TREE.stage(name), ("config_version",))
    return StageVersion(
        version=record.version,
        config=record.config,
        archive=record.archive,
        archive_digest=record.archive_digest,
        since=_changed_at(found.get("config_version")),
    )


def read_history(client: KazooClient, name: str) -> tuple[StageVersion, ...]:
    """Versions before the present one, the oldest first."""
    found = read_leaves(client, TREE.stage(wire.check_name(name)), ("history",))
    return decode_history(found.get("history", (b"",))[0])


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
    """Creates or changes a stage. One without any configuration is an output queue. What it was `before` (None: what
    stands there) is kept in its history; `withdraws`: as a version that somebody went back from."""
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
    if values:
        _write(client, name, values)
    queues.declare(name)


def _history(
    client: KazooClient, name: str, values: Mapping[str, bytes], before: StageVersion | None, *, withdraws: bool
) -> dict[str, bytes]:
    """The node `history` after a change to `values`; empty when there is nothing to remember."""
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
    """Removes queue and configuration; returns how many messages went with the queue."""
    state = queues.state(wire.check_name(name))
    exists = client.exists(TREE.stage(name)) is not None
    if state is None and not exists:
        raise StageError(f"there is neither a stage nor a queue {name!r}")
    if exists and not keep_config:
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
        # Last in the transaction: whoever watches the version finds the rest in place.
        values["config_version"] = wire.encode_text(wanted)
    return values


def _write(client: KazooClient, name: str, values: dict[str, bytes]) -> None:
    # Upstream's watchdog skips a stage that lacks one of these, its workers stumble over the lock.
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
