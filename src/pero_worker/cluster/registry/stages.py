"""Stages as they stand in ZooKeeper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from pero_worker.cluster.registry.troubles import Trouble, decode_trouble
from pero_worker.coordinators.session import read_leaves, wait_for
from pero_worker.errors import StageError
from pero_worker.stage import Sharing
from pero_worker.wire import tree as wire
from pero_worker.wire.history import StageVersion, decode_history
from pero_worker.wire.measured import Measured, decode_measured
from pero_worker.wire.tree import TREE

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
    "queue_type",
)
MAX_SHARE = 1e6
_MAX_KIND_BYTES = 20


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
    queue: str = ""
    """What kind of queue it has, `classic` or `quorum`; '': as the cluster says; `none`: it was taken away."""


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
        queue=wire.decode_text(values.get("queue_type", b"")[:_MAX_KIND_BYTES]),
    )


def current_trouble(record: StageRecord) -> Trouble | None:
    """What was written down of this version; of another it is of no interest any more."""
    return record.trouble if record.trouble and record.trouble.version == record.version else None


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
