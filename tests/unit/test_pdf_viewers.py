"""Searchable PDFs in three viewers: they look as the original, and the words are over the printed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from field_pdfs import (
    HEIGHT,
    LINES,
    WIDTH,
    Maker,
    boxes_of,
    strange_contents,
    turned_and_cropped,
    with_form_field,
    with_text,
)
from viewers import DRAWN_BY, WORDS_OF

from pero_worker.formats import TextPolicy
from pero_worker.formats.pdf import write_searchable_pdf
from pero_worker.page import Line, Page, Region, Word

SCALE = WIDTH / 1000
READ = [word for line in LINES for word in line.split()]


def page_read(*more: tuple[str, tuple[float, float, float, float]]) -> Page:
    """What recognition makes of the scan, a line a word; `more` are further words, in pixels."""
    lines = []
    for number, (text, (left, top, right, bottom)) in enumerate([*boxes_of(), *more]):
        outline = ((left, top), (right, top), (right, bottom), (left, bottom))
        level = bottom - (bottom - top) / 4
        heights = (level - top, bottom - level)
        word = Word(text=text, polygon=outline, confidence=0.9)
        lines.append(
            Line(
                id=f"l{number}",
                baseline=((left, level), (right, level)),
                polygon=outline,
                heights=heights,
                text=text,
                confidence=0.9,
                words=(word,),
            )
        )
    return Page(
        name="p",
        width=1000,
        height=700,
        regions=(Region(id="r", polygon=((0, 0), (1000, 0), (1000, 700), (0, 700)), lines=tuple(lines)),),
    )


def searchable(source: Path, pages: int, *, text: TextPolicy = TextPolicy.REDO, page: Page | None = None) -> Path:
    target = source.with_name(f"{source.stem}-{text}.pdf")
    with target.open("wb") as stream:
        write_searchable_pdf(source, [page or page_read()] * pages, stream, dpi=300, text=text)
    return target


def assert_alike(viewer: str, before: Path, after: Path, names: list[str]) -> None:
    one, other = DRAWN_BY[viewer](before), DRAWN_BY[viewer](after)
    assert len(one) == len(other) == len(names)
    different = [name for name, a, b in zip(names, one, other, strict=True) if not np.array_equal(a, b)]
    assert different == []


def words(viewer: str, path: Path) -> list[list[str]]:
    return [[word for word, _ in page] for page in WORDS_OF[viewer](path)]


@pytest.mark.parametrize("viewer", DRAWN_BY)
def test_a_page_looks_as_before_whatever_its_contents_do(tmp_path: Path, viewer: str) -> None:
    source = tmp_path / "source.pdf"
    names = strange_contents(source)
    target = searchable(source, len(names))
    assert_alike(viewer, source, target, names)
    for name, found in zip(names, WORDS_OF[viewer](target), strict=True):
        ours = [(word, box) for word, box in found if word in READ]
        assert [word for word, _ in ours] == READ, name
        for (_, got), (_, wanted) in zip(ours, boxes_of(), strict=True):
            middle = (got[0] + got[2]) / 2, (got[1] + got[3]) / 2
            left, top, right, bottom = (side * SCALE for side in wanted)
            assert left < middle[0] < right, name
            assert top - 3 < middle[1] < bottom + 3, name
            assert got[2] - got[0] == pytest.approx(right - left, abs=4), name


@pytest.mark.parametrize("viewer", DRAWN_BY)
def test_a_turned_or_cropped_page_looks_as_before(tmp_path: Path, viewer: str) -> None:
    source = tmp_path / "source.pdf"
    names = turned_and_cropped(source)
    target = searchable(source, len(names))
    assert_alike(viewer, source, target, names)
    assert words(viewer, target) == [READ] * len(names)


@pytest.mark.parametrize("viewer", DRAWN_BY)
def test_an_invisible_layer_is_replaced_and_print_is_kept(tmp_path: Path, viewer: str) -> None:
    source = tmp_path / "source.pdf"
    names = with_text(source)
    target = searchable(source, len(names))
    assert_alike(viewer, source, target, names)
    found = dict(zip(names, words(viewer, target), strict=True))
    assert found.pop("a scan with printed number") in ([*READ, "Box", "7-1987"],)
    assert found == dict.fromkeys(found, READ)
    again = searchable(target, len(names))
    assert words(viewer, again) == words(viewer, target)


def test_invisible_text_that_holds_the_place_of_print_stays(tmp_path: Path) -> None:
    make = Maker()
    make.page("mixed", b"BT /F1 12 Tf 20 140 Td 3 Tr (hidden) Tj 0 Tr (seen) Tj ET")
    source = tmp_path / "source.pdf"
    make.pdf.save(source)
    target = searchable(source, 1, page=page_read())
    for viewer in DRAWN_BY:
        assert_alike(viewer, source, target, ["mixed"])
    assert [word for word in words("mupdf", target)[0] if "seen" in word] == ["hiddenseen"]


def test_a_page_with_text_is_left_alone_when_asked(tmp_path: Path) -> None:
    source = tmp_path / "source.pdf"
    names = with_text(source)
    target = searchable(source, len(names), text=TextPolicy.SKIP)
    before, after = words("poppler", source), words("poppler", target)
    assert after[:-1] == before[:-1]
    assert (before[-1], after[-1]) == ([], READ)


@pytest.mark.parametrize("viewer", DRAWN_BY)
def test_a_page_with_text_becomes_a_picture_when_asked(tmp_path: Path, viewer: str) -> None:
    source = tmp_path / "source.pdf"
    names = with_text(source)
    target = searchable(source, len(names), text=TextPolicy.FORCE)
    assert words(viewer, target) == [READ] * len(names)
    for before, after in zip(DRAWN_BY[viewer](source), DRAWN_BY[viewer](target), strict=True):
        assert np.abs(before.astype(int) - after.astype(int)).mean() < 8


@pytest.mark.parametrize("appearance", [True, False])
def test_what_was_typed_into_a_form_is_found_once(tmp_path: Path, appearance: bool) -> None:
    source = tmp_path / "source.pdf"
    with_form_field(source, appearance=appearance)
    typed = ["Filled", "by", "hand", "in", "1987"]
    boxes = [(word, (100.0 + 130 * n, 505.0, 200.0 + 130 * n, 560.0)) for n, word in enumerate(typed)]
    target = searchable(source, 1, page=page_read(*boxes))
    assert HEIGHT == 168
    assert sorted(words("poppler", target)[0]) == sorted([*READ, *typed])
    for viewer in DRAWN_BY:
        assert_alike(viewer, source, target, ["form"])
