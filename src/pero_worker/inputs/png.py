"""What PNG decoders do not check: comments that unpack to any size, and missing rows."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UNUSED = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel, by colour type."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Passes of an interlaced picture: first column and row, steps across and down."""
_PIECE = 1 << 20


def without_comments(stream: IO[bytes]) -> IO[bytes]:
    """Drops a PNG's texts and colour profile, which may unpack to any size and are unused here.

    Returns other files as they are.
    """
    head = stream.read(len(_SIGNATURE))
    stream.seek(0)
    if head != _SIGNATURE:
        return stream
    kept = io.BytesIO()
    kept.write(stream.read(len(_SIGNATURE)))
    while len(start := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind in _UNUSED:
            stream.seek(length + 4, io.SEEK_CUR)
        else:
            kept.write(start)
            kept.write(stream.read(length + 4))
    kept.seek(0)
    return kept


def lacks_rows(stream: IO[bytes]) -> bool:
    """Whether a PNG unpacks to fewer rows than it says it has: Pillow silently fills in black."""
    stream.seek(len(_SIGNATURE))
    wanted, there, unpacking = 0, 0, zlib.decompressobj()
    try:
        for kind, body in _chunks(stream):
            if kind == b"IHDR":
                wanted = _length(*struct.unpack(">IIBBBBB", body[:13]))
            elif kind == b"IDAT":
                there += len(unpacking.decompress(body, _PIECE))
                while unpacking.unconsumed_tail:
                    there += len(unpacking.decompress(unpacking.unconsumed_tail, _PIECE))
        return there + len(unpacking.flush()) < wanted
    except (struct.error, zlib.error, KeyError):
        return False  # Decoders report this.


def _chunks(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    while len(start := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind in {b"IHDR", b"IDAT"}:
            yield kind, stream.read(length)
            stream.seek(4, io.SEEK_CUR)
        else:
            stream.seek(length + 4, io.SEEK_CUR)


def _length(width: int, height: int, bits: int, colours: int, _packing: int, _filter: int, interlaced: int) -> int:
    """Returns the size of all rows in bytes, each with its filter byte."""
    pixel = bits * _SAMPLES[colours]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    return sum(rows * (1 + -(-columns * pixel // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
