"""Stages as recorded in ZooKeeper."""

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
    """A stage as recorded in ZooKeeper."""

    name: str
    """Name of the stage and of its queue."""
    config: str = ""
    """Text of its configuration."""
    archive: str = ""
    """Where its model is stored: a path in the store, or a URL."""
    version: str = ""
    """Version of the configuration and model; any text."""
    priority: int = 0
    """Stages with a higher priority get workers first."""
    disabled: bool = False
    """Whether workers are kept away from it."""
    mean_seconds: float | None = None
    """Mean duration of a page, in seconds; None: no page is done yet."""
    waiting_since: datetime | None = None
    """When its oldest page began to wait; None: none waits."""
    archive_digest: str = ""
    """SHA-256 of the archive; '': unknown."""
    measured: Measured = field(default_factory=Measured)
    """The measured cost of its pages."""
    sharing: Sharing = field(default_factory=Sharing)
    """Who may serve it, and who owns it."""
    unreadable: tuple[str, ...] = ()
    """Its nodes whose values make no sense; they count as unset."""
    trouble: Trouble | None = None
    """Why no worker can load it; None: they can, or none has tried."""
    last_page: datetime | None = None
    """When a page was last done in this stage."""
    queue: str = ""
    """Kind of its queue, `classic` or `quorum`; '': the cluster's default; `none`: the queue was removed."""


def stage_names(client: KazooClient) -> tuple[str, ...]:
    """Returns the names of all stages, sorted."""
    try:
        found = wait_for(client, lambda: client.get_children_async(TREE.stages))
    except NoNodeError:
        return ()
    # Nodes with other names cannot be stages, as no queue could be made for them.
    return tuple(sorted(name for name in found if wire.is_name(name)))


def read_record(client: KazooClient, name: str) -> StageRecord:
    """Reads a stage. Raises `StageError` if there is no such stage."""
    found = read_leaves(client, TREE.stage(wire.check_name(name)), LEAVES)
    if not found and wait_for(client, lambda: client.exists_async(TREE.stage(name))) is None:
        known = ", ".join(stage_names(client)) or "none"
        raise StageError(f"there is no stage {name!r}; known: {known}")
    return record_from(name, found)


def record_from(name: str, found: Mapping[str, tuple[bytes, Any]]) -> StageRecord:
    """Builds a record from those of the stage's nodes `LEAVES` that exist: value and stat of each."""
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
    """Returns the trouble recorded for the present version; that of another version no longer matters."""
    return record.trouble if record.trouble and record.trouble.version == record.version else None


def _changed_at(node: tuple[bytes, Any] | None) -> datetime | None:
    """Returns when the node was last written; None if it never was."""
    return datetime.fromtimestamp(node[1].mtime / 1000, UTC) if node and node[0] else None


def _sharing(value: bytes) -> Sharing:
    """Decodes the values that make sense."""
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
    """Returns the stage's present version; an output queue has no configuration. Raises `StageError` if there is no
    such stage."""
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
    """Returns the versions before the present one, the oldest first."""
    found = read_leaves(client, TREE.stage(wire.check_name(name)), ("history",))
    return decode_history(found.get("history", (b"",))[0])
