"""The versions of a stage that came before: the node `history`, ours, as compressed JSON."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from pero_worker.wire.tree import decode_time, encode_time

MAX_VERSIONS = 10
"""The oldest are forgotten first."""
_MAX_NODE_BYTES = 500_000
_MAX_JSON_BYTES = 20_000_000
"""What it may unpack to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageVersion:
    """What makes a stage what it is."""

    version: str
    """Its name."""
    config: str
    """The text of config.ini."""
    archive: str = ""
    """As `Stage.archive`."""
    archive_digest: str = ""
    """SHA-256 of the archive in hexadecimal; '' = any."""
    since: datetime | None = None
    """When it came to be, in UTC."""
    withdrawn: bool = False
    """Whether somebody went back from it."""


def encode_history(versions: Sequence[StageVersion]) -> bytes:
    """The last ones, as many as there is room for."""
    kept = list(versions)[-MAX_VERSIONS:]
    while True:
        found = [{**asdict(one), "since": encode_time(one.since).decode("ascii")} for one in kept]
        value = zlib.compress(json.dumps(found).encode("utf-8"))
        if len(value) <= _MAX_NODE_BYTES or not kept:
            return value
        del kept[0]


def decode_history(value: bytes) -> tuple[StageVersion, ...]:
    """The oldest first. What cannot be read is left out."""
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
    """`versions` but the one of this name: the present one is not among those that came before."""
    return tuple(one for one in versions if one.version != version)


def withdrawn(one: StageVersion) -> StageVersion:
    """The same, gone back from."""
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
