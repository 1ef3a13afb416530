"""The manifests that a collection of IIIF leads to, through collections within it and their further pages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pero_worker.errors import NoInputError
from pero_worker.inputs.iiif.presentation import Member, kind_of, members
from pero_worker.inputs.iiif.resources import id_of

_MAX_DEPTH = 5
_MAX_COLLECTIONS = 100_000

Fetch = Callable[[str], tuple[Any, str]]
"""Document of an address, and where it was in the end. NoInputError: it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundManifest:
    """What a collection leads to."""

    id: str
    """Address."""
    label: str
    """As the collection calls it, may be ''."""
    problem: str = ""
    """It is a collection that cannot be read, and why."""


def manifests_of(document: dict[str, Any], source: str, fetch: Fetch) -> Iterator[FoundManifest]:
    """Every manifest, each once, whatever loops there are; collections that cannot be read are told of."""
    seen = {source, id_of(document)}
    waiting = deque([(document, source, 0)])
    for _ in range(_MAX_COLLECTIONS):
        if not waiting:
            return
        collection, address, depth = waiting.popleft()
        for member in members(collection, address):
            if member.id in seen:
                continue
            seen.add(member.id)
            if not member.is_collection:
                yield FoundManifest(id=member.id, label=member.label)
                continue
            # Further pages of a long list are no deeper.
            inner_depth = depth if member.is_continuation else depth + 1
            try:
                if inner_depth > _MAX_DEPTH:
                    raise NoInputError(f"it lies more than {_MAX_DEPTH} collections deep: name it by itself")
                waiting.append((*_opened(member, address, fetch), inner_depth))
            except NoInputError as error:
                yield FoundManifest(id=member.id, label=member.label, problem=str(error))


def _opened(member: Member, address: str, fetch: Fetch) -> tuple[dict[str, Any], str]:
    if member.inside is not None:
        return member.inside, address
    document, place = fetch(member.id)
    if kind_of(document) != "collection" and not member.is_continuation:
        raise NoInputError("it is no collection, as another says")
    return (document if isinstance(document, dict) else {}), place
