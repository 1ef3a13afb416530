"""The watchdog's latest decisions and their reasons, written down for people by the leading watchdog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from pero_worker.coordinators.session import wait_for
from pero_worker.messages import Message, from_plain, to_plain
from pero_worker.wire import tree as wire
from pero_worker.wire.tree import TREE

MAX_MOVES = 10
_MAX_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveNote:
    """A worker was assigned stages."""

    when: datetime
    """When it was assigned them, in UTC."""
    worker: str
    """Name of the worker."""
    stages: tuple[str, ...]
    """All stages that it should hold from then on."""
    reason: str
    """The reason, in English."""
    why: tuple[Message, ...] = ()
    """The reason in a form that can be translated; () = none."""


def write_moves(client: KazooClient, moves: Sequence[MoveNote]) -> None:
    """Writes the moves, the newest last; only the last `MAX_MOVES` are kept."""
    told = [
        {
            "when": move.when.isoformat(),
            "worker": move.worker,
            "stages": list(move.stages),
            "reason": move.reason,
            "why": [to_plain(one) for one in move.why],
        }
        for move in moves[-MAX_MOVES:]
    ]
    value = wire.encode_info({"moves": told})
    try:
        client.set(TREE.moves, value)
    except NoNodeError:
        client.create(TREE.moves, value, makepath=True)


def read_moves(client: KazooClient) -> tuple[MoveNote, ...]:
    """Returns the moves, the newest last; empty if none were written."""
    try:
        value, _ = wait_for(client, lambda: client.get_async(TREE.moves))
    except NoNodeError:
        return ()
    return moves_from(value)


def moves_from(value: bytes) -> tuple[MoveNote, ...]:
    """Decodes moves; those that make no sense are left out."""
    found = wire.decode_info(value).get("moves")
    return tuple(_moves(found[-MAX_MOVES:])) if isinstance(found, list) else ()


def _moves(found: Iterable[Any]) -> Iterable[MoveNote]:
    for one in found:
        try:
            when = datetime.fromisoformat(str(one["when"]))
            stages = tuple(str(name)[:_MAX_TEXT] for name in list(one["stages"])[:MAX_MOVES])
            worker, reason = str(one["worker"])[:_MAX_TEXT], str(one["reason"])[:_MAX_TEXT]
        except (KeyError, TypeError, ValueError):
            continue
        if when.tzinfo is not None:
            yield MoveNote(when=when, worker=worker, stages=stages, reason=reason, why=_why(one.get("why")))


def _why(found: Any) -> tuple[Message, ...]:
    """Returns all messages, or none if one of them is unknown."""
    parts = [from_plain(one) for one in found[:MAX_MOVES]] if isinstance(found, list) else []
    known = tuple(part for part in parts if part is not None)
    return known if len(known) == len(parts) else ()
