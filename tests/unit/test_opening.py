"""What a path or an address leads to: lists of pictures, archives of them, documents that are fetched whole."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

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
    # What it is is told by its beginning, whatever its address and its type say.
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
