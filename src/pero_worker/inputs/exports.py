"""Zip archives exported by eScriptorium and Transkribus: unpacked within bounds, then read by their METS."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pero_worker.errors import NoInputError, OutputError
from pero_worker.inputs.books import Book, BookKind, BookPage, Names, Picture, safe_name
from pero_worker.inputs.naming import may_be_document
from pero_worker.names import counted

_SAYS_UTF8 = 0x800
_MAX_FILES = 100_000
_MAX_BYTES = 50_000_000_000
_MAX_RATIO = 200
"""No picture is compressed that much in a zip."""
_FREE_OF_RATIO = 100_000_000


def unpack_export(archive: Path, scratch: Path) -> Path:
    """Unpacks the archive into a folder below `scratch`, where it stays for the next time, and returns that folder.

    Raises `NoInputError` if the archive does not look like an export, `OutputError` if the disk is full.
    """
    try:
        status = archive.stat()
        mark = hashlib.sha256(f"{archive.resolve()}\n{status.st_size}\n{status.st_mtime_ns}".encode()).hexdigest()
        target = scratch / mark[:32]
        if not target.is_dir():
            unfinished = target.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _unpack(archive, unfinished)
            unfinished.rename(target)
    except OSError as error:
        raise OutputError(f"cannot unpack {archive} in {scratch}: {error.strerror or error}") from error
    return target


def mets_in(folder: Path) -> list[Path]:
    """Finds the METS of an unpacked archive; there are several if several documents were exported together.

    A METS that lies below another is part of that one, and is left out.
    """
    found = sorted(
        (path for path in _files(folder) if path.name.lower() == "mets.xml"), key=lambda path: (len(path.parts), path)
    )
    homes: list[Path] = []
    for path in found:
        if not any(path.is_relative_to(home) for home in homes):
            homes.append(path.parent)
    return [path for path in found if path.parent in homes]


def _files(folder: Path) -> list[Path]:
    """Lists the files, without those that macOS adds for its own use."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not {"__MACOSX"} & set(path.parts) and not path.name.startswith("._")]


def pictures_in(folder: Path, *, source: str) -> Book:
    """Makes a book of the pictures in an unpacked archive without a METS, in the order of their names.

    Their PAGE or ALTO files are next to them, or in folders named after the format. Raises
    `NoInputError` if there are no pictures.
    """
    files = _files(folder)
    pictures = [path for path in files if may_be_document(path.name) and path.suffix.lower() != ".pdf"]
    if not pictures:
        raise NoInputError(f"{source} is a zip archive without a METS and without pictures")
    documents = sum(path.suffix.lower() == ".pdf" for path in files)
    names = Names()
    pages = tuple(
        BookPage(
            name=names.take(safe_name(path.stem) or f"{number:04d}"),
            id="",
            label=path.stem,
            number=number,
            picture=Picture(file=path),
        )
        for number, path in enumerate(pictures, 1)
    )
    warnings = (f"{counted(documents, 'PDF')} in it not read: unpack it for that",) if documents else ()
    name = safe_name(PurePosixPath(source).stem) or "export"
    return Book(kind=BookKind.FILES, source=source, name=name, label="", pages=pages, warnings=warnings)


def _unpack(archive: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            _check(archive, entries)
            for entry in entries:
                if not entry.is_dir() and not entry.filename.endswith("\\"):
                    path = target.joinpath(*_parts(entry))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with packed.open(entry) as source, path.open("xb") as stream:
                        shutil.copyfileobj(source, stream, 1 << 20)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        RuntimeError,
        FileExistsError,
        NotADirectoryError,
    ) as error:
        raise NoInputError(f"{archive} cannot be unpacked: {' '.join(str(error).split())[:200]}") from error


def _parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """Splits the entry's path: programs on Windows write backslashes, and many write UTF-8 without saying so."""
    name = entry.filename
    if not entry.flag_bits & _SAYS_UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return PurePosixPath(name.replace("\\", "/")).parts


def _check(archive: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MAX_FILES or sum(entry.file_size for entry in entries) > _MAX_BYTES:
        raise NoInputError(
            f"{archive} holds more than {_MAX_FILES} files or {_MAX_BYTES // 10**9} GB: unpack it by hand"
        )
    for entry in entries:
        parts = _parts(entry)
        outside = not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]
        mode = entry.external_attr >> 16
        if outside or (stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}):
            raise NoInputError(f"{archive} holds {entry.filename[:200]!r}, which leads out of it or is a link")
        if entry.file_size > _FREE_OF_RATIO and entry.file_size > _MAX_RATIO * max(1, entry.compress_size):
            raise NoInputError(
                f"{archive} holds {entry.filename[:200]!r}, which unpacks to far more than a picture would"
            )
