"""Drawn pages of many layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from training import fonts, ink
from training.decor import Decor
from training.drawn import Drawn
from training.fonts import Face
from training.scans import scan
from training.sources import Sources

_TALLER, _DEEPER, _WIDER = 1.1, 1.15, 0.15
"""Lines reach a little beyond the letters: their heights times so much, their ends by a share of both heights. Ends
like those of the letters would be found a pixel too short half of the time, which costs a point or half a letter."""


@dataclass(frozen=True, slots=True)
class Area:
    """Where on the page a block may stand."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left


class PageMaker:
    """Draws pages without end."""

    def __init__(self, sources: Sources, seed: int) -> None:
        self.sources = sources
        self.rng = np.random.default_rng(seed)

    def __call__(self, width: int, height: int, size: float) -> Drawn:
        """A page of body text `size` pixels high (a font size)."""
        rng = self.rng
        self._sheet = Pillow.new("L", (width, height), 0)
        self._pen = ImageDraw.Draw(self._sheet)
        self._decor = Decor(rng, self._sheet, self.sources.ornaments)
        self._page = Drawn()
        self._face = self.sources.face(self._kind())
        side, edge = rng.uniform(0.04, 0.13) * width, rng.uniform(0.04, 0.1) * height
        area = Area(side, edge, width - side, height - edge)
        layouts: list[Callable[[Area, float], None]] = [self._columns, self._title_page, self._catalogue, self._letter]
        layouts[int(rng.choice(4, p=[0.56, 0.16, 0.16, 0.12]))](area, size)
        for _ in range(int(rng.integers(1, 4)) * (rng.random() < 0.12)):
            self._decor.scribble(size)
        if rng.random() < 0.08:
            self._decor.stamp(size)
        page = self._page
        inked = ink.pressed(rng, ink.covered(self._sheet), 0.6)
        behind = None
        if rng.random() < 0.12:
            behind = cv2.GaussianBlur(np.ascontiguousarray(inked[:, ::-1]), (0, 0), rng.uniform(0.7, 2))
        page.image = ink.on_paper(rng, inked, 0.8, behind)
        scan(rng, page)
        return page

    def _kind(self) -> str:
        kinds = self.sources.kinds
        return self.sources.random.choices(list(kinds), list(kinds.values()))[0]

    # -- layouts --------------------------------------------------------------------------------------------------

    def _columns(self, area: Area, size: float) -> None:
        """Running head, one to three columns of paragraphs, footnotes, notes in the margin."""
        rng = self.rng
        top, bottom = area.top, area.bottom
        if rng.random() < 0.4:
            top = (
                self._row([(self.sources.text(self._face, 3, 25), rng.choice(["left", "centre"]))], area, top, size)
                + size
            )
        if rng.random() < 0.3:
            bottom -= 5 * size
            self._decor.rule(area.left, area.left + area.width * rng.uniform(0.2, 1), bottom, size)
            notes = Area(area.left, bottom + size * 0.6, area.right, area.bottom)
            self._paragraph(notes, size * 0.8, int(rng.integers(1, 4)))
        margin = rng.uniform(6, 9) * size if rng.random() < 0.12 else 0.0
        count = int(rng.choice([1, 1, 2, 2, 3]))
        gutter = rng.uniform(1.0, 3.5) * size
        width = (area.width - margin - gutter * (count - 1)) / count
        while count > 1 and width < 7 * size:
            count -= 1
            width = (area.width - margin - gutter * (count - 1)) / count
        for column in range(count):
            left = area.left + margin + column * (width + gutter)
            if column and rng.random() < 0.3:
                self._pen.line(
                    [(left - gutter / 2, top), (left - gutter / 2, bottom)], fill=200, width=1 + int(size / 14)
                )
            self._fill(Area(left, top, left + width, bottom), size)
        if margin > 0:
            y = top
            while y < bottom - 6 * size:
                note = Area(area.left, y, area.left + margin - size, bottom)
                y = self._paragraph(note, size * 0.8, int(rng.integers(1, 4))) + rng.uniform(2, 12) * size

    def _fill(self, area: Area, size: float) -> None:
        """Paragraphs, headings, tables, pictures and rules, one below the other."""
        rng, y = self.rng, area.top
        while y < area.bottom - 2 * size:
            rest = Area(area.left, y, area.right, area.bottom)
            kind = rng.random()
            if kind < 0.06:
                y = self._picture(rest, size)
            elif kind < 0.16:
                y = self._paragraph(rest, size * rng.uniform(1.15, 1.8), int(rng.integers(1, 3)), align="centre")
            elif kind < 0.22 and area.width > 15 * size:
                y = self._table(rest, size)
            else:
                align = str(rng.choice(["justified", "justified", "left"]))
                y = self._paragraph(
                    rest, size * float(rng.choice([1, 1, 1, 0.85])), int(rng.integers(2, 14)), align=align
                )
            y += size * rng.uniform(0.35, 1.6)
            if rng.random() < 0.06:
                self._decor.rule(area.left, area.right, y - size * 0.2, size)
                y += size * 0.4
            if rng.random() < 0.04:
                y = self._ornament(Area(area.left, y, area.right, area.bottom), size)

    def _title_page(self, area: Area, size: float) -> None:
        """Few centred lines of very different sizes, spaced or not, between rules and an ornament."""
        rng, y = self.rng, area.top + self.rng.uniform(0, 0.15) * (area.bottom - area.top)
        while y < area.bottom - 4 * size:
            large = size * rng.choice([0.7, 1, 1, 1.5, 2.2, 3.2])
            spaced = large * rng.uniform(0.1, 0.7) if rng.random() < 0.35 else 0.0
            text = self.sources.text(self._face, 3, max(4, int(area.width / large * 1.2)))
            y = self._row([(text, "centre")], area, y, large, spaced) + large * rng.uniform(0.3, 3)
            if rng.random() < 0.15:
                half = area.width * rng.uniform(0.05, 0.3)
                self._decor.rule((area.left + area.right) / 2 - half, (area.left + area.right) / 2 + half, y, size)
                y += size
            if rng.random() < 0.15:
                y = self._ornament(Area(area.left, y, area.right, area.bottom), size)
            if rng.random() < 0.08:
                y = self._picture(Area(area.left + area.width / 3, y, area.right - area.width / 3, area.bottom), size)

    def _catalogue(self, area: Area, size: float) -> None:
        """Entries with numbers or prices at the right edge, perhaps after leaders, under centred names."""
        rng, y = self.rng, area.top
        leaders, named = rng.random() < 0.4, rng.random() < 0.6
        while y < area.bottom - 3 * size:
            if named and rng.random() < 0.5:
                y = (
                    self._row([(self.sources.text(self._face, 6, 25), "centre")], area, y + size * 0.4, size)
                    + size * 0.2
                )
            for _ in range(int(rng.integers(1, 4))):
                text = f"{rng.integers(1, 400)}. {self.sources.text(self._face, 5, int(area.width / size))}"
                text += " " + ". " * int(rng.integers(3, 12)) if leaders else ""
                price = f"{rng.integers(1, 3000)}{rng.choice(['', '.-', '. 50.', ' fr.'])}"
                y = self._row([(text.strip(), "left"), (price, "right")], area, y, size) + size * 0.15

    def _letter(self, area: Area, size: float) -> None:
        """Letterhead, date at the right, address, paragraphs of one line distance, closing."""
        rng, y = self.rng, area.top
        for _ in range(int(rng.integers(0, 3))):
            text = self.sources.text(self._face, 6, 30)
            y = self._row([(text, "centre")], area, y, size * rng.uniform(0.8, 1.6)) + size * 0.3
        y = self._row([(self.sources.text(self._face, 6, 20), "right")], area, y + size, size) + size
        for _ in range(int(rng.integers(0, 4))):
            y = self._row([(self.sources.text(self._face, 6, 20), "left")], area, y, size) + size * 0.3
        apart = rng.uniform(1.2, 2.2)
        while y < area.bottom - 6 * size and rng.random() < 0.85:
            y = self._paragraph(Area(area.left, y, area.right, area.bottom), size, int(rng.integers(2, 9)), apart=apart)
            y += size * rng.uniform(0.3, 1.5)
        self._row([(self.sources.text(self._face, 6, 20), "right")], area, y + size, size)

    # -- blocks; each returns the y below it -----------------------------------------------------------------------

    def _paragraph(
        self, area: Area, size: float, most: int, *, align: str = "justified", apart: float | None = None
    ) -> float:
        """Up to `most` lines of running text, the first one indented; `apart` is the line distance in font sizes."""
        rng = self.rng
        face = self._face if rng.random() < 0.85 else self.sources.face(self._kind())
        font = fonts.load(self.sources.path(face), max(6, int(size)))
        distance = (apart or rng.uniform(1.05, 1.5)) * size * max(1.0, face.ascender + face.descender)
        blank = font.getlength(" ")
        words = self.sources.text(face, 40, 200).split()
        indent = blank * rng.uniform(2, 10) if align != "centre" and rng.random() < 0.7 else 0.0
        y = area.top + face.ascender * size
        first = len(self._page.baselines)
        for number in range(most):
            if y + face.descender * size > area.bottom:
                break
            left = area.left + (indent if number == 0 else 0)
            row: list[str] = []
            while font.getlength(" ".join([*row, words[0]])) <= area.right - left:
                row.append(words.pop(0))
                if not words:
                    words = self.sources.text(face, 40, 200).split()
            if not row:
                words = self.sources.text(face, 40, 200).split()
                continue
            if number == most - 1:
                row = row[: int(rng.integers(1, len(row) + 1))]
            length = font.getlength(" ".join(row))
            if align == "centre":
                left += (area.right - left - length) / 2
            step = blank
            if align == "justified" and number < most - 1 and len(row) > 1:
                stretched = step + (area.right - left - length) / (len(row) - 1)
                step = stretched if stretched < size else step  # wider gaps are those between columns
            x = left
            for word in row:
                self._pen.text((x, y), word, fill=255, font=font, anchor="ls")
                x += font.getlength(word) + step
            self._add(left, x - step, y, face, size)
            y += distance
        self._outline(first, size)
        return y - distance + face.descender * size

    def _row(self, parts: list[tuple[str, str]], area: Area, top: float, size: float, spaced: float = 0.0) -> float:
        """Texts in one row, each a line of its own: at the left, in the centre, at the right."""
        face, first = self._face, len(self._page.baselines)
        font = fonts.load(self.sources.path(face), max(6, int(size)))
        y = top + face.ascender * size
        if y + face.descender * size < area.bottom:
            free = area.left
            for text, align in parts:
                while text and font.getlength(text) + spaced * len(text) > area.right - free:
                    text = text[:-1]  # noqa: PLW2901
                length = font.getlength(text) + spaced * max(0, len(text) - 1)
                share = {"left": 0.0, "centre": 0.5, "right": 1.0}[align]
                left = x = max(free, area.left + (area.width - length) * share)
                for letter in text if spaced else [text]:
                    self._pen.text((x, y), letter, fill=255, font=font, anchor="ls")
                    x += font.getlength(letter) + spaced
                if text.strip():
                    self._add(left, x - spaced, y, face, size)
                free = x + size
        for place in range(first, len(self._page.baselines)):
            self._outline(place, size, place + 1)
        return y + face.descender * size

    def _table(self, area: Area, size: float) -> float:
        """Rows of short cells, with or without rules between them."""
        rng, y = self.rng, area.top
        columns, ruled = int(rng.integers(2, 5)), rng.random() < 0.6
        width = area.width / columns
        for _ in range(int(rng.integers(2, 7))):
            if y > area.bottom - 2 * size:
                break
            below = y
            for column in range(columns):
                cell = Area(
                    area.left + column * width + size / 2, y, area.left + (column + 1) * width - size / 2, area.bottom
                )
                text = str(rng.integers(1, 9999)) if rng.random() < 0.5 else self.sources.text(self._face, 2, 12)
                below = self._row([(text, str(rng.choice(["left", "right"])))], cell, y + size * 0.3, size)
            y = below
            if ruled:
                self._decor.rule(area.left, area.right, y + size * 0.15, size)
                y += size * 0.3
        return y

    def _picture(self, area: Area, size: float) -> float:
        height = self.rng.uniform(3, 9) * size
        if area.top + height > area.bottom:
            return area.bottom
        self._decor.picture(area.left, area.top, self.rng.uniform(0.4, 1) * area.width, height)
        return area.top + height + size

    def _ornament(self, area: Area, size: float) -> float:
        if area.top + 4 * size > area.bottom:
            return area.top
        height = self._decor.ornament((area.left + area.right) / 2, area.top, area.width, size)
        return area.top + height + size * bool(height)

    # -- what was drawn --------------------------------------------------------------------------------------------

    def _add(self, left: float, right: float, y: float, face: Face, size: float) -> None:
        above, below = face.ascender * size * _TALLER, face.descender * size * _DEEPER
        room = _WIDER * (above + below)
        self._page.baselines.append(np.array([[left - room, y], [(left + right) / 2, y], [right + room, y]]))
        self._page.heights.append((above, below))

    def _outline(self, first: int, size: float, end: int | None = None) -> None:
        """The lines from `first` on are a region."""
        lines = list(zip(self._page.baselines[first:end], self._page.heights[first:end], strict=True))
        if not lines:
            return
        room = size * 0.15
        left = min(baseline[0, 0] for baseline, _ in lines) - room
        right = max(baseline[-1, 0] for baseline, _ in lines) + room
        top = min(baseline[0, 1] - above for baseline, (above, _) in lines) - room
        bottom = max(baseline[0, 1] + below for baseline, (_, below) in lines) + room
        self._page.regions.append(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))
