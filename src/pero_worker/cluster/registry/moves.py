"""What the watchdog did last, and why: whoever leads writes it down for people."""

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
    """A worker was told what to hold."""

    when: datetime
    """In UTC."""
    worker: str
    """Its name."""
    stages: tuple[str, ...]
    """All that it should hold from then on."""
    reason: str
    """Why, in English."""
    why: tuple[Message, ...] = ()
    """The same, to be said in other languages; () = that cannot be done."""


def write_moves(client: KazooClient, moves: Sequence[MoveNote]) -> None:
    """The newest last; no more than `MAX_MOVES` are kept."""
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
    """The newest last; none when nobody wrote any."""
    try:
        value, _ = wait_for(client, lambda: client.get_async(TREE.moves))
    except NoNodeError:
        return ()
    return moves_from(value)


def moves_from(value: bytes) -> tuple[MoveNote, ...]:
    """What makes no sense is left out."""
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
    """All of it, or nothing."""
    parts = [from_plain(one) for one in found[:MAX_MOVES]] if isinstance(found, list) else []
    known = tuple(part for part in parts if part is not None)
    return known if len(known) == len(parts) else ()
