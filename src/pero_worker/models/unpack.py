"""Unpacks model archives from untrusted sources: nothing outside the target, no links, bounded size."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from pero_worker.errors import StageError

_BLOCK = 1 << 20
_MAX_READ_BYTES = 4 * _BLOCK
"""Longest single read: a tar header may claim any size, and tarfile reads headers whole."""
_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"]\0\0": lzma.LZMAFile,
}
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    IndexError,  # a zip entry without a name
    OSError,
    ValueError,
    OverflowError,
    struct.error,
    RuntimeError,  # an encrypted zip, or an unknown compression method
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what an archive may unpack to."""

    files: int = 10_000
    """Most files and folders."""
    bytes: int = 20_000_000_000
    """Most bytes of all files together."""
    ratio: int = 200
    """Most bytes per byte of the archive, beyond the first 100 MB; weights hardly compress, bombs do."""

    def bytes_of(self, archive: Path) -> int:
        return min(self.bytes, 100_000_000 + self.ratio * archive.stat().st_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    stream: IO[bytes] | None
    """The content; None for a folder."""


def is_archive(path: Path) -> bool:
    """Whether the file begins like an archive; it may still be damaged."""
    if not path.is_file():
        return False
    if _is_zip(path):
        return True
    try:
        with _decompressed(path) as stream:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
    except _DAMAGED:
        return False
    return True


def _umask() -> int:
    """Returns the umask. Linux shows it in /proc; reading it by setting it would affect other threads."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return 0o077
    found = re.search(r"^Umask:\s*([0-7]+)$", status, re.MULTILINE)
    return int(found[1], 8) if found else 0o077


def _is_zip(path: Path) -> bool:
    """Whether the file is a zip, judged by its beginning: a tar may end with a zip, as networks are zips."""
    with path.open("rb") as stream:
        return stream.read(4) in {b"PK\x03\x04", b"PK\x05\x06"}


def unpack(archive: Path, target: Path, limits: Limits | None = None) -> None:
    """Unpacks a tar (any compression) or zip into the new folder `target`, which appears whole or not at all.

    Raises `StageError` if it is not an archive, is damaged, or holds what does not belong in a model archive.
    """
    limits = limits or Limits()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
    except OSError as error:
        raise StageError(f"cannot unpack {archive.name} in {target.parent}: {error.strerror}") from error
    try:
        _unpack_into(archive, unfinished, limits)
        unfinished.chmod(0o777 & ~_umask())
        try:
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():  # another process was faster, with the same content
                raise
    except _DAMAGED as error:
        raise StageError(f"the archive {archive.name} cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path, limits: Limits) -> None:
    left = most = limits.bytes_of(archive)
    for number, member in enumerate(_members(archive), 1):
        if number > limits.files:
            raise StageError(f"the archive {archive.name} holds more than {limits.files} files")
        path = folder.joinpath(*_safe_parts(member.name, archive))
        if member.stream is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise StageError(f"the archive {archive.name} is refused: it holds {member.name!r} twice")
        with path.open("xb") as target:
            while block := member.stream.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise StageError(f"the archive {archive.name} unpacks to more than {most} bytes")
                target.write(block)


def _members(archive: Path) -> Iterator[_Member]:
    if _is_zip(archive):
        with zipfile.ZipFile(archive) as pack:
            for info in pack.infolist():
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                    raise _not_plain(info.filename, archive)
                if info.is_dir():
                    yield _Member(name=info.filename, stream=None)
                else:
                    with pack.open(info) as stream:
                        yield _Member(name=info.filename, stream=stream)
        return
    with _decompressed(archive) as plain, tarfile.open(fileobj=cast("BinaryIO", plain), mode="r:") as tape:
        for entry in tape:
            if entry.isdir():
                yield _Member(name=entry.name, stream=None)
            elif entry.isreg():
                yield _Member(name=entry.name, stream=tape.extractfile(entry))
            else:
                raise _not_plain(entry.name, archive)


class _Bounded:
    """A stream that refuses long reads."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ_BYTES:
            raise ValueError("a header claims to be longer than any should be")
        return self._stream.read(size)


@contextmanager
def _decompressed(archive: Path) -> Iterator[_Bounded]:
    with archive.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        decompress = next((how for magic, how in _DECOMPRESSORS.items() if start.startswith(magic)), None)
        if decompress is None:
            yield _Bounded(stream)
            return
        with decompress(stream) as plain:
            yield _Bounded(plain)


def _not_plain(name: str, archive: Path) -> StageError:
    return StageError(f"the archive {archive.name} is refused: {name!r} is a link or device, not a plain file")


def _safe_parts(name: str, archive: Path) -> tuple[str, ...]:
    path = PurePosixPath(name)
    parts = tuple(part for part in path.parts if part != ".")
    if path.is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        raise StageError(f"the archive {archive.name} is refused: {name!r} points outside it")
    return parts
