"""The ZooKeeper tree: its paths and the encodings of its values, the same as upstream's to the byte.

Values are raw bytes; empty means "not set". Nodes that only we know are marked "ours": upstream never lists the
folders they are in, or ignores what it does not know there (docs/wire.md).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pero_worker.errors import StageError

PRIORITY_BYTES = 28
"""What upstream's writer gets from `sys.getsizeof` of a small integer; readers take any length."""
MAX_PRIORITY = 1_000_000
MAX_SECONDS = 1e7
"""About four months: nothing that is measured takes longer."""
MAX_INFO_BYTES = 200_000
_MAX_SHORT_BYTES = 128
"""Maximum size of a value that is a single number or time."""
_MAX_DIGITS = 19
"""A whole number has fewer characters than this."""
_MAX_NAMES = 1000
"""Maximum number of names in a list of stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Paths in ZooKeeper."""

    root: str = "/pero"
    """What all paths begin with; in upstream, /pero."""

    @property
    def workers(self) -> str:
        return f"{self.root}/worker/status"

    @property
    def stages(self) -> str:
        return f"{self.root}/queue"

    @property
    def election(self) -> str:
        """Ours: the watchdogs that stand for leader."""
        return f"{self.root}/watchdog/election"

    @property
    def moves(self) -> str:
        """Ours: what the watchdog did last, and why."""
        return f"{self.root}/watchdog/moves"

    @property
    def payloads(self) -> str:
        """Ours: where payloads that do not travel in messages are stored."""
        return f"{self.root}/payloads"

    @property
    def payloads_swept(self) -> str:
        """Ours: written by whoever removes old payloads; its version counts how often."""
        return f"{self.root}/payloads/swept"

    @property
    def suspects(self) -> str:
        """Ours: pages that may have killed a worker, each with the number of workers that died on it."""
        return f"{self.root}/suspects"

    @property
    def cancelled(self) -> str:
        """Ours: jobs whose pages are no longer to be processed, by `job_node`."""
        return f"{self.root}/cancelled"

    def servers(self, kind: str) -> str:
        """`kind` is mq, mq_monitoring or ftp: the names of the children are the addresses."""
        return f"{self.root}/worker/config/{kind}_servers"

    @property
    def outputs(self) -> str:
        """Ours: queues for results, which are not stages; the value of each is its kind of queue."""
        return f"{self.root}/outputs"

    @property
    def queue_type(self) -> str:
        """Ours: the kind of queue for stages that do not set it themselves."""
        return f"{self.root}/worker/config/queue_type"

    def worker(self, worker: str, leaf: str = "") -> str:
        """`leaf`: status, status/connected, queue, enabled, unlock_time; ours: info, message, stages."""
        return f"{self.workers}/{worker}" + (f"/{leaf}" if leaf else "")

    def stage(self, stage: str, leaf: str = "") -> str:
        """`leaf`: config, config_path, config_version, administrative_priority, avg_msg_time, avg_msg_time_lock,
        waiting_since; ours: archive_digest, disabled, measured, queue_type, sharing, trouble, history."""
        return f"{self.stages}/{stage}" + (f"/{leaf}" if leaf else "")


TREE = Tree()
"""To have several clusters in one ZooKeeper, give each a root of its own after the address: HOST/root."""


def job_node(job: str) -> str:
    """Returns the name of a job's node, since a job's own name may be anything."""
    return hashlib.sha256(job.encode("utf-8", "replace")).hexdigest()[:32]


def encode_text(value: str) -> bytes:
    return value.encode("utf-8")


def decode_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def encode_seconds(value: float) -> bytes:
    return value.hex().encode("ascii")


def decode_seconds(value: bytes) -> float | None:
    """Returns seconds; None if unset, or not a possible number."""
    try:
        seconds = float.fromhex(value[:_MAX_SHORT_BYTES].decode("ascii")) if value else None
    except (ValueError, OverflowError):
        return None
    return seconds if seconds is None or 0 <= seconds <= MAX_SECONDS else None


def encode_priority(value: int) -> bytes:
    """Encodes a priority, which is never negative: a node of ours, which upstream does not read, says that a stage is
    disabled."""
    return value.to_bytes(PRIORITY_BYTES, "big")


def decode_priority(value: bytes) -> int:
    """Decodes a priority of any length, at most `MAX_PRIORITY`."""
    return min(int.from_bytes(value[:_MAX_SHORT_BYTES], "big"), MAX_PRIORITY)


def encode_time(value: datetime | None) -> bytes:
    return value.astimezone(UTC).isoformat().encode("ascii") if value else b""


def decode_time(value: bytes) -> datetime | None:
    """Returns a time in UTC; None if unset, or not a time. A time without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(value[:_MAX_SHORT_BYTES].decode("ascii")) if value else None
        if moment is None:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def encode_flag(value: bool) -> bytes:
    return b"true" if value else b"false"


def decode_flag(value: bytes) -> bool:
    return value == b"true"


def encode_info(value: Mapping[str, Any]) -> bytes:
    """Ours: encodes facts about a worker as JSON."""
    return json.dumps(value, sort_keys=True).encode("utf-8")


def decode_info(value: bytes) -> dict[str, Any]:
    """Returns the facts; empty if unset or unreadable. Numbers that no fact can have become None."""
    return _read_object(value) or {}


def _read_object(value: bytes) -> dict[str, Any] | None:
    """Returns a JSON object; None if the value is not one."""
    found = _read_json(value)
    return found if isinstance(found, dict) else None


def _read_json(value: bytes) -> Any:
    """Returns what the JSON holds; None if it cannot be read."""
    if not value or len(value) > MAX_INFO_BYTES:
        return None
    try:
        return json.loads(value, parse_int=_whole, parse_float=_real, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        return None


def _whole(text: str) -> int | None:
    return int(text) if len(text) < _MAX_DIGITS else None


def _real(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def encode_names(names: Sequence[str]) -> bytes:
    """Ours: encodes names of stages as JSON."""
    return json.dumps(list(names)).encode("utf-8")


def decode_names(value: bytes) -> tuple[str, ...]:
    """Returns the names; empty if unset, or not a list. What is not a name is left out."""
    names = _read_json(value)
    if not isinstance(names, list):
        return ()
    return tuple(name for name in names[:_MAX_NAMES] if isinstance(name, str) and is_name(name))


def unreadable(values: Mapping[str, bytes]) -> tuple[str, ...]:
    """Returns the leaves of a stage or worker whose value is set but makes no sense, and was taken for unset."""
    return tuple(leaf for leaf, value in values.items() if value and leaf in _READERS and _READERS[leaf](value) is None)


def _read_priority(value: bytes) -> int | None:
    return decode_priority(value) if int.from_bytes(value[:_MAX_SHORT_BYTES], "big") <= MAX_PRIORITY else None


_READERS: Mapping[str, Callable[[bytes], object]] = {
    "administrative_priority": _read_priority,
    "avg_msg_time": decode_seconds,
    "info": _read_object,
    "measured": _read_object,
    "sharing": _read_object,
    "stages": _read_json,
    "trouble": _read_object,
    "unlock_time": decode_time,
    "waiting_since": decode_time,
}


def held_stages(queue: bytes, stages: bytes) -> tuple[str, ...]:
    """Returns the stages that a worker is told to hold. `queue` is upstream's command and decides: our list, in the
    node `stages`, belongs to it only if it begins with the same stage."""
    name = decode_text(queue)
    several = decode_names(stages)
    if not is_name(name):
        return ()
    return several if several[:1] == (name,) else (name,)


def is_name(name: str) -> bool:
    """Whether `name` can be a ZooKeeper node, an AMQP queue and a folder."""
    bad = not name or len(name.encode("utf-8", "replace")) > 200 or name in {".", "..", "zookeeper"}
    return not bad and not name.startswith("amq.") and not any(_is_bad(c) for c in name)


def _is_bad(character: str) -> bool:
    code = ord(character)
    return character in "/\\" or code < 32 or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF


def check_name(name: str, what: str = "stage") -> str:
    """Returns `name` if it is valid (see `is_name`). Raises `StageError` otherwise."""
    if not is_name(name):
        raise StageError(f"{name!r} is no name for a {what}: up to 200 characters, no slash, no control characters")
    return name
