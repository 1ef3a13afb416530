"""Why a stage cannot be loaded, as recorded in ZooKeeper by the leading watchdog."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError

from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

MAX_REASON_LENGTH = 1000
"""Limit in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the leading watchdog recorded about a stage that cannot be loaded."""

    version: str
    """Version of the stage; another version may load."""
    reason: str
    """The reason, in a worker's words."""
    since: datetime
    """When the first worker failed."""


def write_trouble(client: KazooClient, stage: str, trouble: Trouble | None) -> None:
    """Records the trouble; None clears it. Ignores a stage that has been removed in the meantime."""
    path = TREE.stage(stage, "trouble")
    try:
        client.set(path, encode_trouble(trouble))
    except NoNodeError:
        with suppress(NoNodeError, NodeExistsError):
            client.create(path, encode_trouble(trouble))


def encode_trouble(trouble: Trouble | None) -> bytes:
    """Encodes the value of the node `trouble`; None clears it."""
    if trouble is None:
        return b""
    since = trouble.since.isoformat(timespec="seconds")
    return wire.encode_info({"version": trouble.version, "reason": trouble.reason[:MAX_REASON_LENGTH], "since": since})


def decode_trouble(value: bytes) -> Trouble | None:
    """Decodes the node `trouble`; None if it is unset or makes no sense."""
    found = wire.decode_info(value)
    version, reason, since = found.get("version"), found.get("reason"), found.get("since")
    if not isinstance(version, str) or not isinstance(reason, str) or not isinstance(since, str):
        return None
    moment = wire.decode_time(since.encode())
    return Trouble(version=version, reason=reason[:MAX_REASON_LENGTH], since=moment) if reason and moment else None
