"""The invisible text layer of a PDF page: a form of its own, drawn before anything else on the page.

Whatever the page's own contents do (close more states than they open, end in a comment or within a string), they come
after the layer and cannot move it, colour it or swallow it; and the layer leaves no settings behind for them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import numpy as np
import pikepdf
from pikepdf import Array, Dictionary, Name

from pero_worker.formats.glyphless import ADVANCE
from pero_worker.formats.hyphens import is_parted
from pero_worker.formats.words import box_of, from_left_to_right, words_of
from pero_worker.formats.xmltext import clean_text
from pero_worker.geometry import baseline_in
from pero_worker.page import BESIDE_THE_TEXT, Line, Page, Point, Word


class Role(StrEnum):
    """What a region is to people who have the page read aloud, in PDF's terms."""

    HEADING = "H1"
    PARAGRAPH = "P"
    NOTE = "Note"


LAYER = "/PeroWorkerText"
"""Prefix of the names of our forms among a page's resources."""


_ROLES = {"heading": Role.HEADING, "footnote": Role.NOTE, "endnote": Role.NOTE}
_FONT = "/F"
_FRESH = b"/Span << /ActualText () >> BDC EMC"
"""Ends a replacement text that the previous page left open: poppler would carry it on."""
_LETTER = (0.0, 0.0, 612.0, 792.0)
_MAX_DEPTH = 50


def add_layer(
    pdf: pikepdf.Pdf, sheet: pikepdf.Page, font: pikepdf.Object, parts: Iterable[tuple[Role | None, bytes]]
) -> tuple[pikepdf.Object, list[Role]]:
    """Puts text (`parts` as `text_parts` makes them) under everything that `sheet` draws. Returns the form that holds
    it, and the roles of its marked parts in order; parts without a role are marked as artifacts."""
    roles: list[Role] = []
    operators: list[bytes] = []
    for role, text in parts:
        if role is None:
            operators.append(b"/Artifact <</Type /Pagination>> BDC")
        else:
            operators.append(f"/{role} <</MCID {len(roles)}>> BDC".encode())
            roles.append(role)
        operators += [text, b"EMC"]
    form = compressed(pdf, b"\n".join([_FRESH, b"BT 3 Tr", *operators, b"ET"]))
    form.Type, form.Subtype = Name.XObject, Name.Form
    form.BBox = Array([round(side, 2) for side in visible_box(sheet)])
    form.Resources = Dictionary(Font=Dictionary({_FONT: font}))
    draw_first(pdf, sheet, form)
    return form, roles


def draw_first(pdf: pikepdf.Pdf, sheet: pikepdf.Page, form: pikepdf.Object) -> None:
    """Makes `sheet` draw `form` before its own contents, which stay as they are, broken or not."""
    name = add_xobject(sheet.obj, form, LAYER)
    first = pdf.make_indirect(pikepdf.Stream(pdf, b"q %s Do Q\n" % name.encode()))
    there = sheet.obj.get("/Contents")
    if isinstance(there, Array):
        sheet.obj.Contents = Array([first, *there])
    elif isinstance(there, pikepdf.Stream):
        sheet.obj.Contents = Array([first, there])
    else:
        sheet.obj.Contents = first


def add_xobject(holder: Any, form: pikepdf.Object, prefix: str) -> str:
    """Adds `form` to the resources of `holder`, a page or a form, and returns its name there.

    Resources that pages share are added to, not copied for each page: they may name the images of all pages. A new
    name among them changes nothing for the other pages.
    """
    resources = inherited(holder, "/Resources")
    if not isinstance(resources, Dictionary):
        holder.Resources = Dictionary()
        resources = holder.Resources
    if not isinstance(resources.get("/XObject"), Dictionary):
        resources.XObject = Dictionary()
    number = len(resources.XObject)
    while f"{prefix}{number}" in resources.XObject:
        number += 1
    resources.XObject[f"{prefix}{number}"] = form
    return f"{prefix}{number}"


def compressed(pdf: pikepdf.Pdf, data: bytes) -> pikepdf.Object:
    """Returns `data` as a compressed stream object of `pdf`."""
    stream = pikepdf.Stream(pdf, zlib.compress(data))
    stream.Filter = Name.FlateDecode
    return pdf.make_indirect(stream)


def text_parts(
    page: Page, place: Placement, *, skip: Callable[[Word], bool] = lambda _: False
) -> Iterator[tuple[Role | None, bytes]]:
    """Yields the regions of `page`, without words to `skip`: the role of each (None: not part of the text, such as
    a page number), and operators that show its words."""
    for region in page.regions:
        shown = []
        for line, following in zip_longest(region.lines, region.lines[1:]):
            words = words_of(line)
            # Programs that go by tags do not see lines, only what stands between words.
            goes_on = following is not None and not is_parted(line.text or "", following.text or "")
            for number, word in enumerate(words, 1):
                last = number == len(words) and not goes_on
                if not skip(word) and (operators := _word(word, line, place, last=last)):
                    shown.append(operators)
        if shown:
            role = None if region.kind in BESIDE_THE_TEXT else _ROLES.get(region.kind or "", Role.PARAGRAPH)
            yield role, b"\n".join(shown)


def _word(word: Word, line: Line, place: Placement, *, last: bool) -> bytes:
    """Returns text operators for a word. Its code is hexadecimal, so that no text can break out of the string."""
    text = clean_text(word.text)
    if not text or not word.polygon:
        return b""
    start, end, head = (place.point(point) for point in _run(word, line))
    if not all(map(math.isfinite, (*start, *end, *head))):
        return b""
    size = max(1.0, math.dist(start, head))
    length = max(0.1, math.dist(start, end))
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    code = from_left_to_right(text).encode("utf-16-be")
    stretch = 100 * length / (ADVANCE * size * len(code) / 2)
    space = "" if last else "0020"
    cosine, sine = math.cos(angle), math.sin(angle)
    return (
        f"{_FONT} {size:.2f} Tf {stretch:.2f} Tz "
        f"{cosine:.5f} {sine:.5f} {-sine:.5f} {cosine:.5f} {start[0]:.2f} {start[1]:.2f} Tm <{code.hex()}{space}> Tj"
    ).encode()


def _run(word: Word, line: Line) -> tuple[Point, Point, Point]:
    """Returns where a word's baseline starts and ends, and the point one font size above its start, in pixels.

    The word is projected onto its line's baseline, which may be slanted, upright or curved.
    """
    baseline = line.baseline
    if len(baseline) < 2 or baseline[0] == baseline[-1]:
        baseline = baseline_in(box_of(word.polygon))
    origin, tip = np.array(baseline[0]), np.array(baseline[-1])
    along = (tip - origin) / np.linalg.norm(tip - origin)
    up = np.array((along[1], -along[0]))
    outline, track = np.array(word.polygon) - origin, np.array(baseline) - origin
    places = track @ along
    order = np.argsort(places, kind="stable")
    ends = np.array((np.min(outline @ along), np.max(outline @ along)))
    rises = np.interp(ends, places[order], (track @ up)[order])
    start, end = (origin + at * along + rise * up for at, rise in zip(ends, rises, strict=True))
    head = start + (sum(line.heights) if line.heights else np.ptp(outline @ up)) * up
    return (float(start[0]), float(start[1])), (float(end[0]), float(end[1])), (float(head[0]), float(head[1]))


class Placement:
    """Maps pixels of the upright page image to a PDF page's own coordinates, taking /Rotate and CropBox into account.

    Malformed boxes and rotations are read the way pdfium, which made the page image, reads them.
    """

    def __init__(self, sheet: pikepdf.Page, page: Page) -> None:
        self._left, self._bottom, self._right, self._top = visible_box(sheet)
        self._turn = quarter_turns(sheet)
        width, height = self._right - self._left, self._top - self._bottom
        if self._turn % 2:
            width, height = height, width
        self._across, self._up = width / page.width, height / page.height
        self._height = height

    def point(self, pixel: Point) -> Point:
        u, v = pixel[0] * self._across, self._height - pixel[1] * self._up
        match self._turn:
            case 1:
                return self._right - v, self._bottom + u
            case 2:
                return self._right - u, self._top - v
            case 3:
                return self._left + v, self._top - u
            case _:
                return self._left + u, self._bottom + v


def visible_box(sheet: pikepdf.Page) -> tuple[float, float, float, float]:
    """Returns what viewers show of a page, in points: left, bottom, right, top."""
    media = _box(inherited(sheet.obj, "/MediaBox")) or _LETTER
    crop = _box(inherited(sheet.obj, "/CropBox")) or media
    left, bottom = max(media[0], crop[0]), max(media[1], crop[1])
    right, top = min(media[2], crop[2]), min(media[3], crop[3])
    return (left, bottom, right, top) if left < right and bottom < top else media


def _box(corners: Any) -> tuple[float, float, float, float] | None:
    """Returns a box with its corners in order; None if it is not a box, or empty."""
    try:
        ax, ay, bx, by = (float(value) for value in corners)
    except (TypeError, ValueError):
        return None
    box = min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)
    return box if box[0] < box[2] and box[1] < box[3] else None


def quarter_turns(sheet: pikepdf.Page) -> int:
    """Returns /Rotate in quarter turns clockwise, 0 to 3."""
    try:
        return int(int(inherited(sheet.obj, "/Rotate")) / 90) % 4
    except (TypeError, ValueError):
        return 0


def inherited(node: Any, name: str) -> Any:
    """Returns an entry of a page, or of the nearest node above it that has one; None if there is none."""
    for _ in range(_MAX_DEPTH):
        if name in node:
            return node[name]
        if "/Parent" not in node:
            return None
        node = node["/Parent"]
    return None
