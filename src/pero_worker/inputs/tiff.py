"""The directories of a TIFF: which of them are pages, where they are, and what kind of picture each describes."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from pero_worker.errors import PageError

MAX_PAGES = 100_000
"""Pages in one TIFF."""
_MAX_ENTRIES = 4096
_MAX_VALUES = 16
"""Values read per tag; decoders read more where they need them."""
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType."""
_OLD_REDUCED = 2
_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES = 254, 255, 262, 330
_TRANSPARENCY_MASK = 4
_INTEGERS = {1: ("B", 1), 3: ("H", 1), 4: ("I", 1), 5: ("I", 2), 13: ("I", 1), 16: ("Q", 1), 18: ("Q", 1)}
"""Value types: how they are packed, and how many integers make up one; a fraction is two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffPage:
    """A page of a TIFF."""

    offset: int
    """Offset of its directory, in bytes."""
    number: int
    """Number of its directory, from 0; others that are not pages may lie in between."""
    damage: str = ""
    """Why the directory cannot be read; '' if it can."""
    tags: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Integers in its directory, the first few of each tag; a fraction is two."""


class _Damaged(Exception):
    pass


def is_tiff(head: bytes) -> bool:
    return head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def tiff_pages(stream: IO[bytes], max_pages: int = MAX_PAGES) -> tuple[TiffPage, ...]:
    """Finds the pages, in order. Thumbnails, the smaller levels of a pyramid and masks are not pages.

    Directories that form a loop are read once. A damaged one hides those behind it, and counts as a page that says so.
    Raises `PageError` if there are more than `max_pages`.
    """
    reader = _Reader(stream)
    pages: list[TiffPage] = []
    others: list[TiffPage] = []
    seen: set[int] = set()
    place = reader.first
    while place and place not in seen:
        seen.add(place)
        try:
            tags, following = reader.directory(place)
        except _Damaged as error:
            pages.append(TiffPage(offset=place, number=len(seen), damage=str(error)))
            break
        (pages if _is_page(tags) else others).append(TiffPage(offset=place, number=len(seen) - 1, tags=tags))
        if len(pages) > max_pages:
            raise PageError(f"the TIFF has more than {max_pages} pages", permanent=True)
        place = following
    return tuple(pages) or _largest(reader, others)


def at_directory(stream: IO[bytes], page: TiffPage) -> IO[bytes]:
    """Returns `stream` as a TIFF whose first directory is the page's, so that decoders go there at once."""
    stream.seek(0)
    head = stream.read(16)
    little = head[:2] == b"II"
    big = head[2:4] in {b"+\0", b"\0+"}
    header = (
        head[:8] + struct.pack("<Q" if little else ">Q", page.offset)
        if big
        else (head[:4] + struct.pack("<I" if little else ">I", page.offset))
    )
    if hasattr(stream, "getvalue"):
        return io.BytesIO(header + stream.getvalue()[len(header) :])
    return _Redirected(stream, header)  # type: ignore[return-value]


class _Redirected:
    """A file whose first bytes are replaced."""

    def __init__(self, stream: IO[bytes], header: bytes) -> None:
        self._stream = stream
        self._header = header
        stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        place = self._stream.tell()
        data = self._stream.read(size)
        if place < len(self._header):
            known = self._header[place : place + len(data)]
            data = known + data[len(known) :]
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_page(tags: Mapping[int, tuple[int, ...]]) -> bool:
    kind = tags.get(_SUBFILE_TYPE, (0,))[0]
    return (
        not kind & (_REDUCED | _MASK)
        and tags.get(_OLD_SUBFILE_TYPE, (0,))[0] != _OLD_REDUCED
        and tags.get(_PHOTOMETRIC, (0,))[0] != _TRANSPARENCY_MASK
    )


def _largest(reader: _Reader, others: list[TiffPage]) -> tuple[TiffPage, ...]:
    """Returns the only page of a TIFF that calls all its directories reduced.

    The picture may be in a subdirectory of the first.
    """
    if not others:
        raise PageError("the TIFF has no pages", permanent=True)
    for place in others[0].tags.get(_SUB_DIRECTORIES, ()):
        try:
            tags, _ = reader.directory(place)
        except _Damaged:
            continue
        if _is_page(tags):
            return (TiffPage(offset=place, number=len(others), tags=tags),)
    return (others[0],)


class _Reader:
    """Reads directories. Raises `PageError` if the header is cut off."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._size = stream.seek(0, io.SEEK_END)
        self._read = 0
        stream.seek(0)
        head = stream.read(16)
        self._order = "<" if head[:2] == b"II" else ">"
        self._big = head[2:4] in {b"+\0", b"\0+"}
        self._count, self._place, self._entry = ("Q", "Q", 20) if self._big else ("H", "I", 12)
        try:
            (self.first,) = struct.unpack_from(self._order + self._place, head, 8 if self._big else 4)
        except struct.error:
            raise PageError("the TIFF ends within its header", permanent=True) from None

    def directory(self, place: int) -> tuple[dict[int, tuple[int, ...]], int]:
        """Returns the tags, and the offset of the next directory; 0 if there is none."""
        count_size, place_size = struct.calcsize("<" + self._count), struct.calcsize("<" + self._place)
        (count,) = struct.unpack(self._order + self._count, self._bytes(place, count_size))
        if not 0 < count <= _MAX_ENTRIES:
            raise _Damaged(f"the directory of the page is damaged: {count} entries")
        length = count * self._entry
        self._read += length
        if self._read > self._size:
            raise _Damaged("the directories of the TIFF overlap")
        body = self._bytes(place + count_size, length + place_size)
        tags: dict[int, tuple[int, ...]] = {}
        for start in range(0, length, self._entry):
            found = self._values(body[start : start + self._entry])
            if found:
                tags.setdefault(*found)
        (following,) = struct.unpack_from(self._order + self._place, body, length)
        return tags, following

    def _values(self, entry: bytes) -> tuple[int, tuple[int, ...]] | None:
        """Returns a tag and its first integers; None if they are not integers, or not where they should be."""
        tag, kind, count = struct.unpack_from(self._order + "HH" + self._place, entry)
        code, each = _INTEGERS.get(kind, ("", 0))
        inline = entry[self._entry - struct.calcsize("<" + self._place) :]
        size = struct.calcsize(f"<{each}{code}") if code else 0
        if not size or not count:
            return None
        known = min(count, _MAX_VALUES)
        if count * size > len(inline):
            (place,) = struct.unpack(self._order + self._place, inline)
            try:
                inline = self._bytes(place, known * size)
            except _Damaged:
                return None
        return tag, struct.unpack_from(f"{self._order}{known * each}{code}", inline)

    def _bytes(self, place: int, size: int) -> bytes:
        if place + size > self._size:
            raise _Damaged("the directory of the page lies beyond the end of the file: it was cut")
        self._stream.seek(place)
        return self._stream.read(size)
