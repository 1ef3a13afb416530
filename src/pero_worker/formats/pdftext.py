"""Text that a PDF already has: where it is, and how invisible text of an earlier recognition is taken out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from ctypes import c_double
from typing import Any

import numpy as np
import pikepdf
import pypdfium2.raw as pdfium_c
from numpy.typing import NDArray
from pikepdf import Array, Dictionary, Name, Operator

from pero_worker.formats.textlayer import LAYER, add_xobject, compressed, inherited
from pero_worker.page import Polygon

_INVISIBLE = 3
_MAX_CONTENTS = 30_000_000
"""Bytes of decoded page contents. Longer ones are not taken apart: they are drawings, not text layers."""
_MAX_FORMS = 1000
_MAX_DEPTH = 10
_SHOWS = frozenset({"Tj", "TJ", "'", '"'})
_CELLS = 1000
"""Cells of the grid that records where text is, along its longer side."""
_COVERED = 0.5
_COMPARED_AT = 0.75
"""Pixels per point at which pages are compared."""
_MAX_COMPARED = 2000.0
_HIDDEN = 2 | 32
"""Flags of annotations that viewers do not show."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points of a page."""


def has_text(sheet: Any, typed: Sequence[Box]) -> bool:
    """Returns whether a page (pdfium's) has letters, visible or not, or `typed` ones."""
    with _characters(sheet) as (text, count):
        return bool(typed) or any(_is_letter(text, index) for index in range(count))


def has_invisible_text(sheet: Any) -> bool:
    """Returns whether a page (pdfium's) has text that is not drawn."""
    return any(
        pdfium_c.FPDFTextObj_GetTextRenderMode(item.raw) == _INVISIBLE
        for item in sheet.get_objects(filter=(pdfium_c.FPDF_PAGEOBJ_TEXT,), max_depth=_MAX_DEPTH)
    )


def typed_text(sheet: pikepdf.Page) -> tuple[Box, ...]:
    """Returns the boxes of text typed into a page's forms and free text; viewers show and search it like letters."""
    annotations = sheet.obj.get("/Annots")
    return tuple(filter(None, map(_typed_box, annotations))) if isinstance(annotations, Array) else ()


def look_the_same(one: Any, other: Any) -> bool:
    """Returns whether two pages (pdfium's) look alike, to the pixel."""
    return np.array_equal(_picture(one), _picture(other))


def _picture(sheet: Any) -> NDArray[np.uint8]:
    bitmap = sheet.render(scale=min(_COMPARED_AT, _MAX_COMPARED / max(1.0, *sheet.get_size())))
    try:
        return np.array(bitmap.to_numpy())
    finally:
        bitmap.close()


class TextThere:
    """Where the letters of a page (pdfium's), and `typed` ones, stand; polygons to check are in the page's points."""

    def __init__(self, sheet: Any, typed: Sequence[Box]) -> None:
        boxes = [*_letters(sheet), *typed]
        self._cells: Any = None
        if not boxes:
            return
        left, bottom = (min(box[i] for box in boxes) for i in (0, 1))
        right, top = (max(box[i] for box in boxes) for i in (2, 3))
        self._origin = np.array((left, bottom))
        self._step = max(right - left, top - bottom, 1.0) / _CELLS
        columns, rows = np.ceil((np.array((right, top)) - self._origin) / self._step).astype(int) + 1
        self._cells = np.zeros((rows, columns), bool)
        for box in boxes:
            self._cells[self._window(*box)] = True

    @property
    def any(self) -> bool:
        """Whether there are any letters at all."""
        return self._cells is not None

    def covers(self, polygon: Polygon) -> bool:
        """Returns whether letters fill most of the middle of a word's polygon."""
        if self._cells is None:
            return False
        corners = np.array(polygon)
        (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
        wide, high = right - left, top - bottom
        if wide >= high:
            bottom, top = bottom + high / 3, top - high / 3
        else:
            left, right = left + wide / 3, right - wide / 3
        window = self._cells[self._window(left, bottom, right, top)]
        return bool(window.size) and float(window.any(axis=0 if wide >= high else 1).mean()) >= _COVERED

    def _window(self, left: float, bottom: float, right: float, top: float) -> tuple[slice, slice]:
        low = (np.array((left, bottom)) - self._origin) / self._step
        high = (np.array((right, top)) - self._origin) / self._step
        (x1, y1), (x2, y2) = np.floor(low).clip(0).astype(int), np.ceil(high).clip(0).astype(int)
        return slice(y1, max(y2, y1 + 1)), slice(x1, max(x2, x1 + 1))


class _characters:
    """pdfium's list of a page's characters, and how many there are."""

    def __init__(self, sheet: Any) -> None:
        self._text = sheet.get_textpage()

    def __enter__(self) -> tuple[Any, int]:
        return self._text.raw, max(0, pdfium_c.FPDFText_CountChars(self._text.raw))

    def __exit__(self, *_: object) -> None:
        self._text.close()


def _is_letter(text: Any, index: int) -> bool:
    """Returns whether readers copy out the character as text; they do not if the font gives no Unicode for it."""
    code = pdfium_c.FPDFText_GetUnicode(text, index)
    return code > 32 and not pdfium_c.FPDFText_HasUnicodeMapError(text, index) and chr(min(code, 0x10FFFF)).isalnum()


def _letters(sheet: Any) -> Iterator[Box]:
    left, bottom, right, top = (c_double() for _ in range(4))
    with _characters(sheet) as (text, count):
        for index in range(count):
            found = _is_letter(text, index) and pdfium_c.FPDFText_GetCharBox(text, index, left, right, bottom, top)
            box = left.value, bottom.value, right.value, top.value
            if found and all(map(math.isfinite, box)):
                yield box


def _typed_box(annotation: Any) -> Box | None:
    """Returns the box of an annotation if it shows typed text, otherwise None."""
    try:
        if int(annotation.get("/F", 0)) & _HIDDEN:
            return None
        kind = annotation.get("/Subtype")
        if kind == Name.Widget:
            value = inherited(annotation, "/V") if inherited(annotation, "/FT") in {Name.Tx, Name.Ch} else None
        else:
            value = annotation.get("/Contents") if kind == Name.FreeText else None
        if not isinstance(value, pikepdf.String) or not str(value).strip():
            return None
        ax, ay, bx, by = (float(side) for side in annotation.Rect)
        return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
        return None


class InvisibleText:
    """Takes invisible text out of the pages of `pdf`; everything that is drawn stays where it is."""

    def __init__(self, pdf: pikepdf.Pdf) -> None:
        self._pdf = pdf
        self._forms: dict[tuple[object, int], pikepdf.Object | None] = {}
        self.layers: list[tuple[Any, str]] = []
        """Our layers on the page that text was last removed from, as resources and names among these. They are no
        longer drawn, and can be deleted if the removal is kept."""

    def remove(self, sheet: pikepdf.Page) -> bool:
        """Removes a page's invisible text; returns whether there was any. Raises `PdfError` and the like if the
        contents cannot be taken apart; they are then unchanged."""
        self.layers = []
        there = sheet.obj.get("/Contents")
        parts = list(there) if isinstance(there, Array) else [there]
        parts = [part for part in parts if isinstance(part, pikepdf.Stream)]
        if sum(len(part.read_bytes()) for part in parts) > _MAX_CONTENTS:
            return False
        content, changed = self._without(sheet.obj, sheet, 0, 0)
        if changed:
            sheet.obj.Contents = compressed(self._pdf, content)
        return changed

    def _without(self, holder: Any, contents: Any, mode: int, depth: int) -> tuple[bytes, bool]:
        """Returns the contents, without invisible text, of a page or form that starts in text rendering `mode`, and
        whether anything was taken out; the contents are empty if nothing was."""
        kept: list[Any] = []
        modes: list[int] = []
        changed = False
        for instruction in pikepdf.parse_content_stream(contents):
            operator, operands = str(instruction.operator), list(instruction.operands)
            match operator:
                case "q":
                    modes.append(mode)
                case "Q" if modes:
                    mode = modes.pop()
                case "Tr" if operands:
                    mode = int(operands[0])
                case "Do" if operands and depth < _MAX_DEPTH:
                    name = self._form(holder, str(operands[0]), mode, depth)
                    if name != str(operands[0]):
                        changed = True
                        if name:
                            kept.append(pikepdf.ContentStreamInstruction([Name(name)], Operator("Do")))
                        continue
                case _ if operator in _SHOWS and mode == _INVISIBLE:
                    changed = True
                    kept.extend(_moves_of(operator, operands))
                    continue
            kept.append(instruction)
        return pikepdf.unparse_content_stream(kept) if changed else b"", changed

    def _form(self, holder: Any, name: str, mode: int, depth: int) -> str | None:
        """Returns the name of a form without invisible text that replaces `name`; None: nothing of it is left."""
        resources = inherited(holder, "/Resources")
        forms = resources.get("/XObject") if isinstance(resources, Dictionary) else None
        form = forms.get(name) if isinstance(forms, Dictionary) else None
        if not isinstance(form, pikepdf.Stream) or form.get("/Subtype") != Name.Form or len(self._forms) > _MAX_FORMS:
            return name
        if name.startswith(LAYER):
            self.layers.append((forms, name))
            return None  # One of ours, from an earlier run, goes as a whole.
        key = form.objgen, mode
        if key not in self._forms:
            self._forms[key] = None  # If it is met again within itself, it stays as it is.
            content, changed = self._without(form, form, mode, depth + 1)
            if changed:
                stripped = compressed(self._pdf, content)
                for entry in form.keys() - {"/Length", "/Filter", "/DecodeParms"}:
                    stripped[entry] = form[entry]
                self._forms[key] = stripped
        stripped_form = self._forms[key]
        return name if stripped_form is None else add_xobject(holder, stripped_form, f"{name}-")


def _moves_of(operator: str, operands: list[Any]) -> Iterator[pikepdf.ContentStreamInstruction]:
    """Yields what an operator that shows text does besides showing it."""
    if operator == '"' and len(operands) == 3:
        yield pikepdf.ContentStreamInstruction(operands[:1], Operator("Tw"))
        yield pikepdf.ContentStreamInstruction(operands[1:2], Operator("Tc"))
    if operator in {"'", '"'}:
        yield pikepdf.ContentStreamInstruction([], Operator("T*"))
