"""Searchable PDF: the document as it was, with invisible text over its words."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import IO, Any

import numpy as np
import pikepdf
import pypdfium2 as pdfium
from pikepdf import Array, Dictionary, Name

from pero_worker.errors import OutputError, PageError
from pero_worker.formats import Document, TextPolicy, archival
from pero_worker.formats.glyphless import add_font
from pero_worker.formats.imagepdf import images_as_pdf
from pero_worker.formats.pdftext import (
    InvisibleText,
    TextThere,
    has_invisible_text,
    has_text,
    look_the_same,
    typed_text,
)
from pero_worker.formats.tagged import (
    OLDEST_WITH_TAGS,
    Structure,
    forget_ours,
    is_tagged,
    mark_as_artifact,
    set_language,
)
from pero_worker.formats.textlayer import Placement, add_layer, add_xobject, compressed, text_parts
from pero_worker.inputs.documents import is_pdf, read_page
from pero_worker.inputs.pdfpages import open_objects, open_pdf
from pero_worker.page import Page, Word

_MALFORMED = (
    pikepdf.PdfError,
    pikepdf.PasswordError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    OverflowError,
)
"""What pikepdf raises for a PDF whose objects are not of the kinds they should be."""


def write(document: Document, stream: IO[bytes]) -> None:
    """Writes the document as a searchable PDF, see `write_searchable_pdf`."""
    if document.book is not None:
        resolve_name("pero_worker.formats.bookpdf:write_book")(document, stream)
        return
    write_searchable_pdf(
        document.source,
        document.pages,
        stream,
        dpi=document.dpi,
        text=document.text,
        language=document.language,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What kind of searchable PDF a file has become."""

    of_images: bool
    """Whether everything in it was put there by us."""
    tagged: bool
    """Whether all text in it is ours, so that its tags cover all of it, or there is none."""


def write_searchable_pdf(
    source: Path,
    pages: Sequence[Page | None],
    stream: IO[bytes],
    *,
    dpi: int,
    text: TextPolicy = TextPolicy.REDO,
    language: str = "",
) -> Made:
    """Writes `source` (an image of one or more pages, or a PDF) as a PDF with the text of `pages`.

    Pages that are None stay without text. A PDF's pages look as before, and `text` says what happens to text that they
    have; images are embedded as they are where PDF supports their encoding, otherwise losslessly. An image's size comes
    from its own resolution, otherwise from `dpi`. Text is tagged where all of it is ours; `language` (BCP 47) is its
    language where the PDF does not state one. Raises `PageError` if the source cannot be made into a PDF, `OutputError`
    if `stream` or a temporary file cannot be written.
    """
    try:
        with source.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise PageError(f"cannot read {source}: {error.strerror}", permanent=True) from error
    try:
        with tempfile.TemporaryDirectory(prefix="pero-worker-pdf-") as scratch:
            if is_pdf(head):
                with open_objects(source) as pdf:
                    tagged = _add_text(pdf, pages, _Existing(source, pdf, dpi, text, Path(scratch)))
                    set_language(pdf, language)
                    _save(pdf, stream, min_version=OLDEST_WITH_TAGS if tagged else "")
                return Made(of_images=False, tagged=tagged)
            with pikepdf.open(images_as_pdf(source, pages, dpi, Path(scratch))) as pdf:
                if Name.ID in pdf.trailer:
                    del pdf.trailer.ID  # img2pdf's depends on the time
                _add_text(pdf, pages, None)
                archival.describe(pdf, source.stem.encode("utf-8", "replace").decode())
                set_language(pdf, language)
                _save(pdf, stream, min_version=archival.VERSION)
                return Made(of_images=True, tagged=True)
    except _MALFORMED as error:
        reason = " ".join(str(error).split())[:200]
        raise PageError(f"{source.name} cannot be made into a searchable PDF: {reason}", permanent=True) from error
    except OSError as error:
        if error.errno is None:  # Pillow reports a damaged picture this way
            raise PageError(f"{source.name} cannot be made into a searchable PDF: {error}", permanent=True) from error
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write the searchable PDF of {source.name}: {reason}") from error


def _save(pdf: pikepdf.Pdf, target: IO[bytes] | Path, min_version: str = "") -> None:
    """Saves `pdf` with every original stream unchanged to the byte: readers repair broken ones in ways of their own."""
    pdf.save(
        target,
        min_version=min_version,
        deterministic_id=True,
        compress_streams=False,
        stream_decode_level=pikepdf.StreamDecodeLevel.none,
    )


def _add_text(pdf: pikepdf.Pdf, pages: Sequence[Page | None], existing: _Existing | None) -> bool:
    """Adds the text of `pages`. Returns whether it is tagged, which it is only if the PDF has no text but ours."""
    font = add_font(pdf)
    structure = Structure(pdf)
    sheets = [(number, sheet, page) for number, (sheet, page) in enumerate(zip(pdf.pages, pages, strict=False)) if page]
    with existing.opened(sheets) if existing else nullcontext():
        for number, sheet, page in sheets:
            place = Placement(sheet, page)
            skip = existing.settle(number, sheet, page, place) if existing else _nothing
            if skip is not None:
                structure.add(sheet, *add_layer(pdf, sheet, font, text_parts(page, place, skip=skip)))
        tagged = existing is None or not existing.has_other_text(len(pdf.pages), {number for number, *_ in sheets})
    if existing is None:
        for sheet in pdf.pages:
            mark_as_artifact(pdf, sheet)
    if tagged:
        structure.finish()
    return tagged


def _nothing(_: Word) -> bool:
    return False


class _Existing:
    """The text that a PDF already has, and what the policy does with it."""

    def __init__(self, source: Path, pdf: pikepdf.Pdf, dpi: int, policy: TextPolicy, scratch: Path) -> None:
        self._source = source
        self._pdf = pdf
        self._dpi = dpi
        self._policy = policy
        self._scratch = scratch
        self._before: Any = None
        self._after: Any = None
        self._originals: dict[int, Any] = {}
        self._layers: dict[int, list[tuple[Any, str]]] = {}
        if policy is not TextPolicy.SKIP:
            forget_ours(pdf)
        self._letters_stay = is_tagged(pdf)

    @contextmanager
    def opened(self, sheets: Sequence[tuple[int, pikepdf.Page, Page]]) -> Iterator[None]:
        """Takes invisible text out where it is to be replaced; `settle` works within this context."""
        with open_pdf(self._source) as self._before:
            if self._policy is TextPolicy.REDO:
                remover = InvisibleText(self._pdf)
                for number, sheet, _ in sheets:
                    self._strip(number, sheet, remover)
            if not self._originals:
                yield
                return
            stripped = self._scratch / "stripped.pdf"
            _save(self._pdf, stripped)
            with open_pdf(stripped) as self._after:
                yield

    def settle(self, number: int, sheet: pikepdf.Page, page: Page, place: Placement) -> Callable[[Word], bool] | None:
        """Returns which words of a page are to be left out; None: all of them, the page stays as it is."""
        typed = typed_text(sheet)
        with _sheet(self._before, number) as there:
            if there is None:
                self._letters_stay = True  # It may have letters.
                return _nothing
            if self._policy is TextPolicy.REDO:
                return self._covered(number, sheet, there, typed, place)
            if not has_text(there, typed):
                return _nothing
            if self._policy is TextPolicy.SKIP:
                self._letters_stay = True
                return None
        self._become_picture(number, sheet, page, place)
        return _nothing

    def has_other_text(self, count: int, settled: Set[int]) -> bool:
        """Returns whether text of the PDF's own, or a structure, is left on its `count` pages, including those that
        were not `settled`."""
        for number in range(count):
            if self._letters_stay:
                break
            if number not in settled:
                with _sheet(self._before, number) as there:
                    self._letters_stay = there is None or has_text(there, typed_text(self._pdf.pages[number]))
        return self._letters_stay

    def _strip(self, number: int, sheet: pikepdf.Page, remover: InvisibleText) -> None:
        with _sheet(self._before, number) as there:
            if there is None or not has_invisible_text(there):
                return
        original = sheet.obj.get("/Contents")
        with suppress(*_MALFORMED):
            if remover.remove(sheet):
                self._originals[number] = original
                self._layers[number] = remover.layers

    def _covered(
        self, number: int, sheet: pikepdf.Page, there: Any, typed: Sequence[Any], place: Placement
    ) -> Callable[[Word], bool]:
        if number in self._originals:
            with _sheet(self._after, number) as stripped:
                if stripped is not None and look_the_same(there, stripped):
                    for forms, name in self._layers[number]:
                        if name in forms:
                            del forms[name]
                    return self._over(TextThere(stripped, typed), place)
            sheet.obj.Contents = self._originals[number]
        return self._over(TextThere(there, typed), place)

    def _over(self, there: TextThere, place: Placement) -> Callable[[Word], bool]:
        self._letters_stay = self._letters_stay or there.any
        return lambda word: bool(word.polygon) and there.covers(tuple(place.point(point) for point in word.polygon))

    def _become_picture(self, number: int, sheet: pikepdf.Page, page: Page, place: Placement) -> None:
        image = read_page(self._source, number, dpi=self._dpi, max_pixels=page.width * page.height * 2).image
        grey = bool((image == image[:, :, :1]).all())
        picture = compressed(self._pdf, np.ascontiguousarray(image[:, :, 0] if grey else image[:, :, ::-1]).tobytes())
        height, width = image.shape[:2]
        picture.Type, picture.Subtype, picture.BitsPerComponent = Name.XObject, Name.Image, 8
        picture.Width, picture.Height = width, height
        picture.ColorSpace = Name.DeviceGray if grey else Name.DeviceRGB
        sheet.obj.Resources = Dictionary()
        name = add_xobject(sheet.obj, picture, "/Picture")
        (x, y), right, top = (place.point(corner) for corner in ((0, page.height), (page.width, page.height), (0, 0)))
        matrix = right[0] - x, right[1] - y, top[0] - x, top[1] - y, x, y
        drawing = f"q {' '.join(f'{value:.4f}' for value in matrix)} cm {name} Do Q".encode()
        sheet.obj.Contents = self._pdf.make_indirect(pikepdf.Stream(self._pdf, drawing))
        annotations = sheet.obj.get("/Annots")
        if isinstance(annotations, Array):
            # The other annotations are in the picture.
            sheet.obj.Annots = Array([one for one in annotations if one.get("/Subtype") == Name.Link])


@contextmanager
def _sheet(document: Any, number: int) -> Iterator[Any]:
    """Opens a page with pdfium; yields None if it cannot be loaded."""
    try:
        sheet = document[number]
    except (pdfium.PdfiumError, IndexError):
        yield None
        return
    try:
        yield sheet
    finally:
        sheet.close()
