"""Finds the manifests that an IIIF collection leads to, through the collections in it and their further pages."""

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
"""Returns the document at an address, and its final address. Raises `NoInputError` if it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundManifest:
    """A manifest that a collection leads to, or a collection that cannot be read."""

    id: str
    """Its address."""
    label: str
    """What the collection calls it; may be ''."""
    problem: str = ""
    """Why the collection cannot be read; '' for a manifest."""


def manifests_of(document: dict[str, Any], source: str, fetch: Fetch) -> Iterator[FoundManifest]:
    """Yields each manifest once, whatever loops there are, and the collections that cannot be read."""
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
            # Further pages of a long list are not deeper.
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
