"""Documents of one or many pages: plain images, multi-page TIFFs and PDFs, told apart by content, not by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

from pero_worker.errors import PageError
from pero_worker.inputs.bounds import DEFAULT_MAX_PAGES, DEFAULT_MAX_PIXELS
from pero_worker.inputs.foreign import looks_like
from pero_worker.inputs.headers import Header
from pero_worker.inputs.images import PageScan, check_picture, header_of, scan_of
from pero_worker.inputs.pdfpages import count_pdf_pages, open_pdf, render_page
from pero_worker.inputs.tiff import TiffPage, is_tiff, tiff_pages

_DOCUMENTS_KNOWN = 16
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"II", b"MM", b"GIF8", b"RIFF", b"BM", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")
_READ_IN_PYTHON = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"BM")


def count_pages(path: Path, *, max_pages: int = DEFAULT_MAX_PAGES) -> int:
    """Counts the pages of a document: those of a TIFF or PDF, else 1 (of a GIF, only the first frame).

    A damaged page of a TIFF counts; whatever follows it is unknown. Raises a permanent `PageError` if the file is
    empty, damaged, encrypted, neither an image nor a PDF, or longer than `max_pages`.
    """
    head = _head(path)
    if is_pdf(head):
        count = count_pdf_pages(path)
    elif is_tiff(head):
        count = len(_tiff_pages(path))
    else:
        with _opened(path) as stream:
            check_picture(stream)
        return 1
    if count > max_pages:
        raise PageError(
            f"the document has {count} pages, more than the {max_pages} allowed; if they are real, raise --max-pages",
            permanent=True,
        )
    return count


def opens_safely(path: Path) -> bool:
    """Whether `count_pages` works without a decoder that a bad file may crash.

    Raises `PageError` if the file cannot be read.
    """
    return _head(path).startswith(_READ_IN_PYTHON)


def read_page(path: Path, index: int, *, dpi: int = 300, max_pixels: int = DEFAULT_MAX_PIXELS) -> PageScan:
    """Reads page `index` (from 0), upright.

    A PDF page that is a scan is returned at the scan's resolution, any other at `dpi`.
    """
    head = _head(path)
    if is_pdf(head):
        with open_pdf(path) as document:
            return render_page(document, index, dpi, max_pixels)
    with _opened(path) as stream:
        return scan_of(stream, _tiff_page(path, head, index), max_pixels)


def read_header(path: Path, index: int, *, max_pixels: int) -> Header:
    """Reads what page `index` (from 0) of an image file says about itself. Raises `PageError` as `read_page` does."""
    head = _head(path)
    with _opened(path) as stream:
        return header_of(stream, _tiff_page(path, head, index), max_pixels)


def is_pdf(head: bytes) -> bool:
    """Whether `head` begins a PDF.

    A PDF may begin with up to 1 kB of anything, and an image may say in a comment that it comes from a PDF.
    """
    return b"%PDF-" in head[:1024] and not head.startswith(_IMAGES)


def _tiff_page(path: Path, head: bytes, index: int) -> TiffPage | None:
    pages = _tiff_pages(path) if is_tiff(head) else None
    if index >= (1 if pages is None else len(pages)):
        raise PageError(f"there is no page {index + 1} in the file", permanent=True)
    return pages[index] if pages else None


def _tiff_pages(path: Path) -> tuple[TiffPage, ...]:
    status = path.stat()
    return _walked(path, status.st_size, status.st_mtime_ns)


@lru_cache(_DOCUMENTS_KNOWN)
def _walked(path: Path, _size: int, _modified_ns: int) -> tuple[TiffPage, ...]:
    """Finds the pages, once for all of them: the last one can only be found by way of all before it."""
    with _opened(path) as stream:
        return tiff_pages(stream)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file; an error about its content says what it looks like instead of an image."""
    try:
        with path.open("rb") as stream:
            yield stream
    except PageError as error:
        looks = looks_like(_head(path))
        raise PageError(f"{error}; it looks like {looks}" if looks else str(error), permanent=True) from error
    except OSError as error:
        raise PageError(f"cannot read {path}: {error.strerror or error}", permanent=True) from error


def _head(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            # Reading a pipe could block forever, and it can be read only once.
            raise PageError(f"{path} is a folder, a pipe or a device: name a file", permanent=True)
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        raise PageError(f"cannot read {path}: {error.strerror}", permanent=True) from error
    if not head:
        raise PageError("the file is empty (0 bytes): it was not copied or downloaded completely", permanent=True)
    return head
