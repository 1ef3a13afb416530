"""Why a stage cannot be loaded, as the watchdog that leads wrote it down in ZooKeeper."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError

from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

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
