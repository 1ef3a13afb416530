"""The ZooKeeper tree: its paths and the encodings of its values, upstream's to the byte.

Values are raw bytes; empty means "not set". Nodes that only we know are marked "ours": upstream never lists the
folders they lie in, or ignores what it does not know there (docs/wire.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pero_worker.errors import StageError

PRIORITY_BYTES = 28
"""What `sys.getsizeof` of a small integer gives upstream's writer; readers take any length."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Paths below `root`; upstream's is /pero."""

    root: str = "/pero"

    @property
    def workers(self) -> str:
        return f"{self.root}/worker/status"

    @property
    def stages(self) -> str:
        return f"{self.root}/queue"

    @property
    def election(self) -> str:
        """Ours: candidates for the watchdog's lead."""
        return f"{self.root}/watchdog/election"

    @property
    def suspects(self) -> str:
        """Ours: pages that may have killed a worker, each with the number of its dead."""
        return f"{self.root}/suspects"

    def servers(self, kind: str) -> str:
        """`kind` is mq, mq_monitoring or ftp: the names of the children are the addresses."""
        return f"{self.root}/worker/config/{kind}_servers"

    def worker(self, worker: str, leaf: str = "") -> str:
        """`leaf`: status, status/connected, queue, enabled, unlock_time; ours: info, message, stages."""
        return f"{self.workers}/{worker}" + (f"/{leaf}" if leaf else "")

    def stage(self, stage: str, leaf: str = "") -> str:
        """`leaf`: config, config_path, config_version, administrative_priority, avg_msg_time, avg_msg_time_lock,
        waiting_since; ours: archive_digest, disabled, measured, sharing."""
        return f"{self.stages}/{stage}" + (f"/{leaf}" if leaf else "")


TREE = Tree()
"""To have several clusters in one ZooKeeper, give each a root of its own behind the address: HOST/root."""


def encode_text(value: str) -> bytes:
    return value.encode("utf-8")


def decode_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def encode_seconds(value: float) -> bytes:
    return value.hex().encode("ascii")


def decode_seconds(value: bytes) -> float | None:
    """None when unset, or when it is no number."""
    try:
        seconds = float.fromhex(value.decode("ascii")) if value else None
    except (ValueError, OverflowError):
        return None
    return seconds if seconds is None or 0 <= seconds < float("inf") else None


def encode_priority(value: int) -> bytes:
    """Not negative: that a stage is disabled is said in a node of ours, which upstream does not read."""
    return value.to_bytes(PRIORITY_BYTES, "big")


def decode_priority(value: bytes) -> int:
    return int.from_bytes(value, "big")


def encode_time(value: datetime | None) -> bytes:
    return value.astimezone(UTC).isoformat().encode("ascii") if value else b""


def decode_time(value: bytes) -> datetime | None:
    """None when unset, or when it is no time; a time without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(value.decode("ascii")) if value else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def encode_flag(value: bool) -> bytes:
    return b"true" if value else b"false"


def decode_flag(value: bytes) -> bool:
    return value == b"true"


def encode_info(value: Mapping[str, Any]) -> bytes:
    """Ours: facts about a worker as JSON."""
    return json.dumps(value, sort_keys=True).encode("utf-8")


def decode_info(value: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(value) if value else {}
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def encode_names(names: Sequence[str]) -> bytes:
    """Ours: names of stages as JSON."""
    return json.dumps(list(names)).encode("utf-8")


def decode_names(value: bytes) -> tuple[str, ...]:
    try:
        names = json.loads(value) if value else []
    except (ValueError, RecursionError):
        return ()
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def held_stages(queue: bytes, stages: bytes) -> tuple[str, ...]:
    """What a worker is told to hold. `queue` is upstream's command and counts: a list of ours, in the node `stages`,
    belongs to it only when it begins with the same stage."""
    name = decode_text(queue)
    several = decode_names(stages)
    if not name:
        return ()
    return several if several[:1] == (name,) else (name,)


def check_name(name: str, what: str = "stage") -> str:
    """`name` when it can be a ZooKeeper node, an AMQP queue and a folder; StageError otherwise."""
    bad = not name or len(name.encode()) > 200 or name in {".", "..", "zookeeper"} or name.startswith("amq.")
    if bad or any(c in "/\\" or ord(c) < 32 or 0x7F <= ord(c) <= 0x9F for c in name):
        raise StageError(f"{name!r} is no name for a {what}: up to 200 characters, no slash, no control characters")
    return name
