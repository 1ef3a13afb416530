"""What a path or an address leads to: lists of pictures, archives of them, documents that are fetched whole."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from library import Library, library, picture
from unit.test_layouts_beside import XML

from pero_worker.clock import SystemClock
from pero_worker.errors import NoInputError, UsageError
from pero_worker.inputs.books import Book, FetchedFile, Names
from pero_worker.inputs.discover import discover
from pero_worker.inputs.opening import BookOpener, BookOptions
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.cache import WebCache
from pero_worker.inputs.web.fetch import Fetcher, FetchOptions
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.beside import layout_of
from pero_worker.jobs.books import check_pages
from pero_worker.jobs.plan import open_documents


@pytest.fixture(scope="module")
def server() -> Iterator[Library]:
    with library() as here:
        yield here


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[BookOpener]:
    rules = AddressRules(named=frozenset({"127.0.0.1"}))
    fetcher = Fetcher(FetchOptions(rules=rules, rate=1000), WebCache(tmp_path / "cache", 10**9), SystemClock())
    yield BookOpener(fetcher=fetcher, options=BookOptions(), scratch=tmp_path / "scratch")
    fetcher.close()


def pdf() -> bytes:
    stream = io.BytesIO()
    picture("one").save(stream, "PDF", save_all=True, append_images=[picture("two")])
    return stream.getvalue()


def test_a_pdf_at_an_address_is_a_document_that_stays_the_same(server: Library, opener: BookOpener) -> None:
    # Its first bytes decide what it is, whatever its address and type say.
    for address in (
        server.put("/a/old%20book.pdf", pdf(), "application/octet-stream"),
        server.put("/show?id=7", pdf()),
    ):
        found = discover([address], open_book=opener.open).documents
        (document,) = found
        assert document.book is None and document.address == address
        before = document.path.stat().st_mtime_ns
        assert document.path.read_bytes().startswith(b"%PDF") and document.path.suffix == ".pdf"
        (again,) = discover([address], open_book=opener.open).documents
        assert (again.path, again.path.stat().st_mtime_ns) == (document.path, before)
        with pytest.raises(UsageError, match="--pages chooses pages of IIIF manifests and METS"):
            check_pages(found, "1-2")
        check_pages(found, "")
    assert document.name == "show"


def test_a_pdf_that_is_too_large_is_refused_by_name(server: Library, tmp_path: Path) -> None:
    rules = AddressRules(named=frozenset({"127.0.0.1"}))
    options = FetchOptions(rules=rules, rate=1000, max_bytes=1000)
    fetcher = Fetcher(options, WebCache(tmp_path / "cache", 10**9), SystemClock())
    small = BookOpener(fetcher=fetcher, options=BookOptions(), scratch=tmp_path / "scratch")
    with pytest.raises(NoInputError, match=r"larger than 0.001 MB.*--max-megabytes"):
        small.open(server.put("/large.pdf", pdf()), True)
    fetcher.close()


def test_an_archive_without_a_mets_is_its_pictures_with_the_layouts_beside_them(
    opener: BookOpener, tmp_path: Path
) -> None:
    """As eScriptorium packs PAGE or ALTO with its pictures, and people pack Transkribus' folders."""
    archive = tmp_path / "box 7.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("doc/p1.png", "doc/p2.jpg", "other/p1.png"):
            packed.writestr(name, b"picture")
        packed.writestr("doc/page/p1.xml", XML)
        packed.writestr("doc/notes.txt", b"")
        packed.writestr("doc/print.pdf", b"%PDF-1.4")
    found = discover([str(archive)], open_book=opener.open).documents
    (document,) = found
    assert isinstance(document.book, Book) and document.name == "box 7"
    assert [page.name for page in document.book.pages] == ["p1", "p2", "p1_2"]
    assert "1 PDF in it not read" in next(iter(found.warnings(5)))
    (planned,) = open_documents(found, "p", "1", 300, apart=ProcessApart())
    layouts = [layout_of(task) for task in planned.pages]
    assert [layout.content if layout else None for layout in layouts] == [XML, None, None]
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("notes.txt", b"")
    with pytest.raises(NoInputError, match="without a METS and without pictures"):
        opener.open(str(archive), True)


def test_files_and_fetched_documents_have_names_of_their_own(
    server: Library, opener: BookOpener, tmp_path: Path
) -> None:
    addresses = [server.put(f"/{folder}/book.pdf", pdf() + folder.encode()) for folder in "ab"]
    found = list(discover(addresses, open_book=opener.open).documents)
    assert [document.name for document in found] == ["book", "book_2"]
    assert all(isinstance(one, FetchedFile) for one in opener.open(addresses[0], True) or ())


def test_names_are_given_out_in_one_go() -> None:
    names = Names()
    given = [names.take("same" if number % 2 else f"same_{number}") for number in range(40_000)]
    assert len({name.casefold() for name in given}) == len(given)


def manifest(*bodies: dict[str, Any]) -> dict[str, Any]:
    canvases = [
        {"type": "Canvas", "id": f"c{number}", "items": [{"items": [{"motivation": "painting", "body": body}]}]}
        for number, body in enumerate(bodies)
    ]
    return {"type": "Manifest", "id": "https://x.example/a/m", "label": {"en": ["T"]}, "items": canvases}


def places(found: Sequence[object] | None) -> list[str]:
    """Returns where the pictures of the only book are."""
    (book,) = found or ()
    assert isinstance(book, Book)
    pictures = [page.picture for page in book.pages if page.picture]
    return [picture.service.id if picture.service else picture.url for picture in pictures]


def test_addresses_that_are_not_whole_begin_where_the_document_came_from(
    server: Library, opener: BookOpener, tmp_path: Path
) -> None:
    service = {"id": "/iiif/7", "type": "ImageService3"}
    document = manifest(
        {"type": "Image", "id": "../1.jpg"},
        {"type": "Image", "id": "//cdn.example/2.jpg"},
        {"type": "Image", "id": "3.jpg", "service": [service]},
        {"type": "Image", "id": "https://y.example/%2F4/"},
    )
    address = server.put("/books/7/manifest", document)
    home, last = server.home, "https://y.example/%2F4/"
    served = [f"{home}/books/1.jpg", "http://cdn.example/2.jpg", f"{home}/iiif/7", last]
    assert places(opener.open(address, True)) == served
    # A file does not know where it came from, but says where it is.
    file = tmp_path / "m.json"
    file.write_text(json.dumps(document))
    told = ["https://x.example/1.jpg", "https://cdn.example/2.jpg", "https://x.example/iiif/7", last]
    assert places(opener.open(str(file), True)) == told
    file.write_text(json.dumps({**document, "id": "urn:x"}))
    assert places(opener.open(str(file), True)) == ["../1.jpg", "//cdn.example/2.jpg", "/iiif/7", last]


def test_members_of_a_collection_may_have_relative_addresses(server: Library, opener: BookOpener) -> None:
    server.put("/k/one", manifest({"type": "Image", "id": "1.jpg"}))
    inner = {
        "type": "Collection",
        "items": [{"type": "Manifest", "id": "../one"}, {"type": "Collection", "id": "../top"}],
    }
    server.put("/k/deep/inner", inner)
    members = [{"type": "Collection", "id": "deep/inner"}, {"type": "Collection", "id": "top"}]
    address = server.put("/k/top", {"type": "Collection", "items": members})
    following = BookOpener(fetcher=opener.fetcher, options=BookOptions(follow_collections=True), scratch=opener.scratch)
    found = [one.source for one in following.open(address, True) or ()]
    assert found == [f"{server.home}/k/one"]


@pytest.mark.parametrize("change", ["utf-16", "utf-8-sig", "gzip"])
def test_documents_come_in_other_clothes(server: Library, opener: BookOpener, tmp_path: Path, change: str) -> None:
    """Whatever is said of their kind, and as files as well as from servers."""
    text = json.dumps(manifest({"type": "Image", "id": "https://y.example/1.jpg"}))
    data = gzip.compress(text.encode()) if change == "gzip" else text.encode(change)
    file = tmp_path / "odd"
    file.write_bytes(data)
    for argument in (server.put(f"/odd/{change}", data, "application/octet-stream"), str(file)):
        assert places(opener.open(argument, True)) == ["https://y.example/1.jpg"]


def test_what_is_compressed_is_bounded(opener: BookOpener, tmp_path: Path) -> None:
    file = tmp_path / "m.json.gz"
    file.write_bytes(gzip.compress(b"{" + b" " * 70_000_000 + b"}", 1))
    with pytest.raises(NoInputError, match="larger than 64 MB when unpacked"):
        opener.open(str(file), True)
    file.write_bytes(gzip.compress(json.dumps(manifest()).encode())[:-9])
    with pytest.raises(NoInputError, match="is cut"):
        opener.open(str(file), True)
    file.write_bytes(gzip.compress(b"a picture, or a tar archive"))
    assert opener.open(str(file), False) is None
