"""Unpacks model archives that anybody may have made: nothing outside the target, no links, bounded size."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pero_worker.errors import StageError

_BLOCK = 1 << 20
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what an archive may unpack to."""

    files: int = 10_000
    bytes: int = 20_000_000_000


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    stream: IO[bytes] | None  # None: a folder


def is_archive(path: Path) -> bool:
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpack(archive: Path, target: Path, limits: Limits | None = None) -> None:
    """Unpacks a tar (any compression) or zip into the new folder `target`, which appears whole or not at all.

    StageError: not an archive, damaged, or it holds what a model archive has no business to hold.
    """
    limits = limits or Limits()
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
    try:
        _unpack_into(archive, unfinished, limits)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster, with the same content
                raise
    except _DAMAGED as error:
        raise StageError(f"the archive {archive.name} cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path, limits: Limits) -> None:
    left = limits.bytes
    for number, member in enumerate(_members(archive), 1):
        if number > limits.files:
            raise StageError(f"the archive {archive.name} holds more than {limits.files} files")
        path = folder.joinpath(*_safe_parts(member.name, archive))
        if member.stream is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            while block := member.stream.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise StageError(f"the archive {archive.name} unpacks to more than {limits.bytes} bytes")
                target.write(block)


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as pack:
            for info in pack.infolist():
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                    raise _not_plain(info.filename, archive)
                if info.is_dir():
                    yield _Member(info.filename, None)
                else:
                    with pack.open(info) as stream:
                        yield _Member(info.filename, stream)
        return
    with tarfile.open(archive, "r:*") as tape:
        for entry in tape:
            if entry.isdir():
                yield _Member(entry.name, None)
            elif entry.isreg():
                yield _Member(entry.name, tape.extractfile(entry))
            else:
                raise _not_plain(entry.name, archive)


def _not_plain(name: str, archive: Path) -> StageError:
    return StageError(f"the archive {archive.name} is refused: {name!r} is a link or device, not a plain file")


def _safe_parts(name: str, archive: Path) -> tuple[str, ...]:
    path = PurePosixPath(name)
    parts = tuple(part for part in path.parts if part != ".")
    if path.is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        raise StageError(f"the archive {archive.name} is refused: {name!r} points outside it")
    return parts
