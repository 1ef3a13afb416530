"""Opens the files and addresses that a command line names: IIIF manifests and collections, METS, zipped exports."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pero_worker.errors import NoInputError, OutputError, PageError
from pero_worker.inputs.arguments import is_address
from pero_worker.inputs.beginnings import is_markup, looks_like_book, plain, start_of
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
from pero_worker.inputs.exports import mets_in, pictures_in, unpack_export
from pero_worker.inputs.iiif.collections import FoundManifest, manifests_of
from pero_worker.inputs.iiif.presentation import kind_of, members, read_image_description, read_manifest
from pero_worker.inputs.jsontext import MAX_BYTES, parse_json
from pero_worker.inputs.mets.pages import MetsOptions, book_of
from pero_worker.inputs.mets.read import read_all_mets
from pero_worker.inputs.web.addresses import shown, without_login
from pero_worker.inputs.web.fetch import Fetcher

_ACCEPT = (
    'application/ld+json;profile="http://iiif.io/api/presentation/3/context.json", application/ld+json;q=0.9, '
    "application/json;q=0.9, application/xml;q=0.8, text/xml;q=0.8, */*;q=0.1"
)
_MAX_MANIFESTS = 100_000
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOptions:
    """How the user wants books to be read."""

    pages: str = ""
    """Which pages to read, in the form that `books.chosen` takes; '' for all."""
    mets: MetsOptions = field(default_factory=MetsOptions)
    """Options for METS."""
    follow_collections: bool = False
    """Whether to read all manifests of a collection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOpener:
    """Opens books."""

    fetcher: Fetcher
    """Fetches documents."""
    options: BookOptions
    """How books are to be read."""
    scratch: Path
    """Folder that exports are unpacked in."""

    def open(self, argument: str, alone: bool) -> Sequence[Book | BookReference | FetchedFile] | None:
        """Opens the books that a path or address leads to; None if it is a file of another kind.

        `alone` means that nothing else was named, so it must be a book. Raises `NoInputError` or `PageError` if it
        cannot be read.
        """
        if is_address(argument):
            return self._open_address(argument)
        path = Path(argument)
        head = start_of(_head(path))
        if head.startswith(_ZIP):
            folder = unpack_export(path, self.scratch)
            found = [book for mets in mets_in(folder) for book in self._mets(mets.read_bytes(), str(mets), mets.parent)]
            return found or [self._chosen(pictures_in(folder, source=str(path)))]
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
        return self._books(plain(path.read_bytes(), str(path)), str(path), path.parent)

    def _open_address(self, address: str) -> Sequence[Book | BookReference | FetchedFile]:
        address = self.fetcher.without_login(address)
        try:
            if urlsplit(address).path.lower().endswith(".pdf"):
                entry = self.fetcher.file(address)  # It may be larger than a list.
            else:
                entry = self.fetcher.document(address, accept=_ACCEPT)
        except PageError as error:
            raise NoInputError(str(error)) from error
        with entry.path.open("rb") as stream:
            head = stream.read(1024)
        if b"%PDF-" in head:
            name = safe_name(_stem(address)) or "document"
            return [FetchedFile(path=self._kept(entry.path, f"{name}.pdf"), name=name, source=address)]
        data = plain(entry.path.read_bytes(), address)
        if not looks_like_book(data[:1024]):
            return [_single_picture(address, data)]
        return self._books(data, address, None, entry.url)

    def _kept(self, download: Path, name: str) -> Path:
        """Copies the download under a name of its own, to the same place as long as its content is the same."""
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

    def _books(self, data: bytes, source: str, home: Path | None, base: str = "") -> Sequence[Book | BookReference]:
        """Reads the books in `data`; `base` is the address that the document was finally found at."""
        if is_markup(data[:1024]):
            return self._mets(data, source, home, base)
        document = _json(data, source)
        kind = kind_of(document)
        if kind == "manifest":
            return [self._chosen(read_manifest(document, source, base))]
        if kind == "image":
            return [read_image_description(document, source, base)]
        if kind == "collection":
            return self._collection(document, source, base)
        raise NoInputError(f"{source} is JSON, but neither a manifest, a collection nor a picture of IIIF")

    def _mets(self, data: bytes, source: str, home: Path | None, base: str = "") -> list[Book]:
        """Reads METS; an OAI-PMH response may hold several."""
        return [
            self._chosen(book_of(mets, source=source, home=home, options=self.options.mets, base=base))
            for mets in read_all_mets(data, source)
        ]

    def _chosen(self, book: Book) -> Book:
        return chosen(book, self.options.pages)

    def _collection(self, document: dict[str, Any], source: str, base: str) -> Sequence[BookReference]:
        if not self.options.follow_collections:
            number = sum(1 for _ in members(document, base))
            raise NoInputError(
                f"{source} is a collection of {number} manifests or collections: --follow-collections reads them all"
            )
        names = Names()
        found = []
        for one in manifests_of(document, base or source, self._json_at):
            name = names.take(safe_name(one.label) or safe_name(_stem(one.id)) or "manifest")
            load = partial(self._unreadable if one.problem else self._member, one)
            found.append(BookReference(name=name, source=without_login(one.id), load=load))
            if len(found) > _MAX_MANIFESTS:
                raise NoInputError(f"{source} leads to more than {_MAX_MANIFESTS} manifests")
        if not found:
            raise NoInputError(f"{source} is a collection without manifests")
        return found

    def _member(self, found: FoundManifest) -> Book:
        books = self._open_address(found.id)
        if len(books) != 1 or not isinstance(books[0], Book):
            raise NoInputError(f"{shown(found.id)} is not a manifest, as its collection says")
        return books[0]

    def _unreadable(self, found: FoundManifest) -> Book:
        raise NoInputError(f"the collection {shown(found.id)} cannot be read: {found.problem}")

    def _json_at(self, address: str) -> tuple[Any, str]:
        try:
            entry = self.fetcher.document(address, accept=_ACCEPT)
        except PageError as error:
            raise NoInputError(str(error)) from error
        return _json(plain(entry.path.read_bytes(), shown(address)), shown(address)), entry.url


def _json(data: bytes, source: str) -> Any:
    try:
        return parse_json(data)
    except ValueError as error:
        raise NoInputError(f"{source} cannot be used: {error}") from None


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(1024)
    except OSError:
        return b""  # Reported when the file is opened as a picture.


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
