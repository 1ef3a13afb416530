"""Earlier versions of a stage: the node `history`, ours, as compressed JSON."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from pero_worker.wire.tree import decode_time, encode_time

MAX_VERSIONS = 10
"""How many are kept; the oldest are dropped first."""
_MAX_NODE_BYTES = 500_000
_MAX_JSON_BYTES = 20_000_000
"""Maximum size of the unpacked JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageVersion:
    """One version of a stage: what the stage consists of."""

    version: str
    """The version's name."""
    config: str
    """The text of config.ini."""
    archive: str = ""
    """See `Stage.archive`."""
    archive_digest: str = ""
    """SHA-256 of the archive in hexadecimal; '' = any."""
    since: datetime | None = None
    """When it became the version of its stage, in UTC."""
    withdrawn: bool = False
    """Whether it was rolled back."""


def encode_history(versions: Sequence[StageVersion]) -> bytes:
    """Encodes the latest versions, as many as there is room for."""
    kept = list(versions)[-MAX_VERSIONS:]
    while True:
        found = [{**asdict(one), "since": encode_time(one.since).decode("ascii")} for one in kept]
        value = zlib.compress(json.dumps(found).encode("utf-8"))
        if len(value) <= _MAX_NODE_BYTES or not kept:
            return value
        del kept[0]


def decode_history(value: bytes) -> tuple[StageVersion, ...]:
    """Returns the versions, oldest first; what cannot be read is left out."""
    if not value:
        return ()
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(value, _MAX_JSON_BYTES)
        found = json.loads(text) if unpacking.eof else None
    except (zlib.error, ValueError, RecursionError):
        return ()
    if not isinstance(found, list):
        return ()
    return tuple(version for one in found[-MAX_VERSIONS:] if (version := _version(one)) is not None)


def without(versions: Sequence[StageVersion], version: str) -> tuple[StageVersion, ...]:
    """Returns `versions` except the one of this name: the current version is not an earlier one."""
    return tuple(one for one in versions if one.version != version)


def withdrawn(one: StageVersion) -> StageVersion:
    """Returns the same version, marked as rolled back."""
    return replace(one, withdrawn=True)


def _version(found: Any) -> StageVersion | None:
    if not isinstance(found, dict):
        return None
    texts = {name: found.get(name, "") for name in ("version", "config", "archive", "archive_digest")}
    since = found.get("since", "")
    if not all(isinstance(text, str) for text in (*texts.values(), since)) or not texts["config"]:
        return None
    return StageVersion(
        **texts, since=decode_time(since.encode("utf-8", "replace")), withdrawn=found.get("withdrawn") is True
    )
