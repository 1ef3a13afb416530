"""Opens what a command line names: IIIF manifests and collections, METS, exports as zip; files and addresses."""

from __future__ import annotations

import codecs
import hashlib
import shutil
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pero_worker.errors import NoInputError, OutputError, PageError, PeroWorkerError
from pero_worker.inputs.books import (
    Book,
    BookKind,
    BookPage,
    BookReference,
    FetchedFile,
    Names,
    Picture,
    chosen,
    safe_name,
)
from pero_worker.inputs.discover import is_address
from pero_worker.inputs.exports import mets_in, pictures_in, unpack_export
from pero_worker.inputs.iiif.presentation import kind_of, members, read_image_description, read_manifest
from pero_worker.inputs.jsontext import MAX_BYTES, parse_json
from pero_worker.inputs.mets.pages import MetsOptions, book_of
from pero_worker.inputs.mets.read import read_mets
from pero_worker.inputs.web.addresses import without_login
from pero_worker.inputs.web.fetch import Fetcher

_ACCEPT = (
    'application/ld+json;profile="http://iiif.io/api/presentation/3/context.json", application/ld+json;q=0.9, '
    "application/json;q=0.9, application/xml;q=0.8, text/xml;q=0.8, */*;q=0.1"
)
_MAX_COLLECTION_DEPTH = 5
_MAX_MANIFESTS = 100_000
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b\x08"
_GZIP_WINDOW = 31
"""What zlib calls gzip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOptions:
    """What the user wants of books."""

    pages: str = ""
    """Which pages, as `books.chosen` reads it; '': all."""
    mets: MetsOptions = field(default_factory=MetsOptions)
    """Of METS."""
    follow_collections: bool = False
    """Reads all manifests of a collection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOpener:
    """Opens books."""

    fetcher: Fetcher
    """Brings documents."""
    options: BookOptions
    """What is wanted."""
    scratch: Path
    """A folder that exports are unpacked in."""

    def open(self, argument: str, alone: bool) -> Sequence[Book | BookReference | FetchedFile] | None:
        """The books that a path or address leads to; None: it is a file of another kind. `alone`: nothing else was
        named, so that it must be one. NoInputError, PageError: it cannot be read."""
        if is_address(argument):
            return self._open_address(argument)
        path = Path(argument)
        head = _start(_head(path))
        if head.startswith(_ZIP):
            folder = unpack_export(path, self.scratch)
            mets = mets_in(folder)
            if mets is None:
                return [self._chosen(pictures_in(folder, source=str(path)))]
            return [self._chosen(self._mets(mets.read_bytes(), str(mets), mets.parent))]
        if not looks_like_book(head):
            return None
        try:
            return self._open_file(path)
        except NoInputError:
            if alone:
                raise
            return None

    def _open_file(self, path: Path) -> Sequence[Book | BookReference]:
        if path.stat().st_size > MAX_BYTES:
            raise NoInputError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB and was not read")
        return self._books(_plain(path.read_bytes(), str(path)), str(path), path.parent)

    def _open_address(self, address: str) -> Sequence[Book | BookReference | FetchedFile]:
        address = self.fetcher.without_login(address)
        try:
            if urlsplit(address).path.lower().endswith(".pdf"):
                entry = self.fetcher.file(address)  # May be larger than a list.
            else:
                entry = self.fetcher.document(address, accept=_ACCEPT)
        except PageError as error:
            raise NoInputError(str(error)) from error
        with entry.path.open("rb") as stream:
            head = stream.read(1024)
        if b"%PDF-" in head:
            name = safe_name(_stem(address)) or "document"
            return [FetchedFile(path=self._kept(entry.path, f"{name}.pdf"), name=name, source=address)]
        data = _plain(entry.path.read_bytes(), address)
        if not looks_like_book(data[:1024]):
            return [_single_picture(address, data)]
        return self._books(data, address, None)

    def _kept(self, download: Path, name: str) -> Path:
        """The download under a name of its own, in the same place as long as its content is the same."""
        with download.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        target = self.scratch / digest[:32] / name
        try:
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished = target.with_name(f"{name}.part")
                shutil.copyfile(download, unfinished)
                unfinished.rename(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
        return target

    def _books(self, data: bytes, source: str, home: Path | None) -> Sequence[Book | BookReference]:
        if _is_markup(data[:1024]):
            return [self._chosen(self._mets(data, source, home))]
        try:
            document = parse_json(data)
        except ValueError as error:
            raise NoInputError(f"{source} cannot be used: {error}") from None
        kind = kind_of(document)
        if kind == "manifest":
            return [self._chosen(read_manifest(document, source))]
        if kind == "image":
            return [read_image_description(document, source)]
        if kind == "collection":
            return self._collection(document, source)
        raise NoInputError(f"{source} is JSON, but neither a manifest, a collection nor a picture of IIIF")

    def _mets(self, data: bytes, source: str, home: Path | None) -> Book:
        return book_of(read_mets(data, source), source=source, home=home, options=self.options.mets)

    def _chosen(self, book: Book) -> Book:
        return chosen(book, self.options.pages)

    def _collection(self, document: dict[str, Any], source: str) -> Sequence[BookReference]:
        if not self.options.follow_collections:
            number = sum(1 for _ in members(document, source))
            raise NoInputError(
                f"{source} is a collection of {number} manifests or collections: --follow-collections reads them all"
            )
        names = Names()
        found = []
        for address, label in self._manifests(document, source):
            name = names.take(safe_name(label) or safe_name(_stem(address)) or "manifest")
            found.append(BookReference(name=name, source=without_login(address), load=partial(self._member, address)))
            if len(found) > _MAX_MANIFESTS:
                raise NoInputError(f"{source} leads to more than {_MAX_MANIFESTS} manifests")
        if not found:
            raise NoInputError(f"{source} is a collection without manifests")
        return found

    def _member(self, address: str) -> Book:
        books = self._open_address(address)
        if len(books) != 1 or not isinstance(books[0], Book):
            raise NoInputError(f"{address} is not a manifest, as its collection says")
        return books[0]

    def _manifests(self, document: dict[str, Any], source: str) -> Iterator[tuple[str, str]]:
        """Address and label of every manifest, each once, whatever loops there are."""
        seen = {source, document.get("id", document.get("@id"))}
        waiting = deque([(document, source, 0)])
        while waiting:
            collection, address, depth = waiting.popleft()
            for member in members(collection, address):
                if member.id in seen:
                    continue
                seen.add(member.id)
                if not member.is_collection:
                    yield member.id, member.label
                elif depth < _MAX_COLLECTION_DEPTH:
                    inner = self._inner_collection(member.id)
                    if inner is not None:
                        waiting.append((inner, member.id, depth + 1))

    def _inner_collection(self, address: str) -> dict[str, Any] | None:
        try:
            data = self.fetcher.document(address, accept=_ACCEPT).path.read_bytes()
            inner = parse_json(_plain(data, address))
        except (PeroWorkerError, ValueError):
            return None  # The others are read all the same.
        return inner if kind_of(inner) == "collection" else None


def looks_like_book(head: bytes) -> bool:
    """By its beginning: JSON or XML, but no web page and no drawing."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.decode("utf-16", "ignore").encode()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[:1] in {b"{", b"["} or _is_markup(head)


def _is_markup(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe<\0", b"\xfe\xff\0<")):
        return True
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(b"<") and not text.startswith((b"<!doctype html", b"<html", b"<svg"))


def _start(head: bytes) -> bytes:
    """The beginning of what is compressed in it, if it is."""
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(head, 1024)
    except zlib.error:
        return head


def _plain(data: bytes, source: str) -> bytes:
    """`data`, out of its gzip if it lies in one and no server said so. NoInputError: it is damaged, or too large."""
    if not data.startswith(_GZIP):
        return data
    unpacking = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = unpacking.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise NoInputError(f"{source} cannot be unpacked: {error}") from error
    if len(plain) > MAX_BYTES or not unpacking.eof:
        raise NoInputError(f"{source} is cut, or larger than {MAX_BYTES // 1_000_000} MB when unpacked")
    return plain


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(1024)
    except OSError:
        return b""  # Said when the file is opened as a picture.


def _single_picture(address: str, data: bytes) -> Book:
    head = data[:1024].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        raise NoInputError(f"{address} is a web page: name the address of the manifest or METS itself")
    if not data:
        raise NoInputError(f"{address} is empty")
    name = safe_name(_stem(address)) or "picture"
    page = BookPage(name=name, id="", label="", number=1, picture=Picture(url=address))
    return Book(kind=BookKind.IIIF, source=address, name=name, label="", pages=(page,))


def _stem(address: str) -> str:
    path = PurePosixPath(unquote(urlsplit(address).path))
    return path.parent.name if path.stem in {"manifest", "info", "mets"} and path.parent.name else path.stem
