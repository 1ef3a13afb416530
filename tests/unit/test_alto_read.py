"""ALTO files from other programs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pero_worker.errors import PageError
from pero_worker.formats import alto, alto_read
from pero_worker.page import Line, Page, Region, Word

HEAD = '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Description><MeasurementUnit>{unit}</MeasurementUnit>'
HEAD += "<sourceImageInformation><fileName>C:\\scans\\f1.jpg</fileName></sourceImageInformation></Description>"
HEAD += '<Layout><Page ID="p" WIDTH="800" HEIGHT="600"><PrintSpace>'
TAIL = "</PrintSpace></Page></Layout></alto>"


def page(*lines: str, unit: str = "pixel") -> bytes:
    return (HEAD.format(unit=unit) + f'<TextBlock ID="b">{"".join(lines)}</TextBlock>' + TAIL).encode()


def test_what_we_write_is_read_again() -> None:
    def word(text: str, left: int) -> Word:
        return Word(text=text, polygon=((left, 50), (left + 90, 50), (left + 90, 90), (left, 90)), confidence=0.9)

    outline = ((100.0, 50.0), (400.0, 50.0), (400.0, 90.0), (100.0, 90.0))
    line = Line(
        id="l1",
        baseline=((100, 80), (400, 80)),
        polygon=outline,
        heights=(30, 10),
        text="two words",
        confidence=0.9,
        words=(word("two", 100), word("words", 200)),
    )
    written = Page(name="f1.jpg", width=800, height=600, regions=(Region(id="r1", polygon=outline, lines=(line,)),))
    read = alto_read.read(alto.write(written, created=datetime(2026, 1, 1, tzinfo=UTC), creator="test"))
    assert (read.name, read.width, read.height) == ("f1.jpg", 800, 600)
    (same,) = read.lines()
    assert (same.id, same.text, same.baseline, same.polygon) == ("l1", "two words", line.baseline, outline)
    assert same.heights == pytest.approx((30, 10))


@pytest.mark.parametrize(
    ("strings", "text"),
    [
        ('<String CONTENT="a whole line"/>', "a whole line"),
        ('<String CONTENT="with"/><SP/><String CONTENT="space"/>', "with space"),
        ('<String CONTENT="none"/><String CONTENT="between"/>', "none between"),
        ('<String CONTENT="hy"/><HYP CONTENT="¬"/>', "hy¬"),
        ('<String CONTENT="hy"/><HYP/>', "hy-"),
        ("", ""),
    ],
)
def test_the_text_of_a_line(strings: str, text: str) -> None:
    (line,) = alto_read.read(
        page(f'<TextLine HPOS="10" VPOS="20" WIDTH="300" HEIGHT="40">{strings}</TextLine>')
    ).lines()
    assert line.text == text


@pytest.mark.parametrize(
    ("attributes", "inner", "baseline"),
    [
        ('BASELINE="10,50 300,52"', "", ((10, 50), (300, 52))),
        ('BASELINE="10 50 300 52"', "", ((10, 50), (300, 52))),
        ('BASELINE="50"', "", ((10, 50), (310, 50))),
        ("", "", ((10, 52), (310, 52))),
        (
            'BASELINE="10,50 300,52"',
            '<Shape><Polygon POINTS="10,20 310,20 310,60 10,60"/></Shape>',
            ((10, 50), (300, 52)),
        ),
    ],
)
def test_the_baseline_in_all_its_spellings(
    attributes: str, inner: str, baseline: tuple[tuple[float, float], ...]
) -> None:
    text = f'<TextLine HPOS="10" VPOS="20" WIDTH="300" HEIGHT="40" {attributes}>{inner}<String CONTENT="x"/></TextLine>'
    (line,) = alto_read.read(page(text)).lines()
    assert [*sum(line.baseline, ())] == pytest.approx([*sum(baseline, ())])
    assert line.polygon == ((10, 20), (310, 20), (310, 60), (10, 60))


def test_a_line_without_a_place_is_left_out() -> None:
    assert list(alto_read.read(page('<TextLine><String CONTENT="x"/></TextLine>')).lines()) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be used"),
        (b"<PcGts/>", "root is <PcGts>"),
        (page(unit="mm10"), "mm10: export it in pixels"),
        (page('<TextLine HPOS="x" VPOS="1" WIDTH="1" HEIGHT="1"/>'), "'x' is no number"),
        (page('<TextLine HPOS="1e99" VPOS="1" WIDTH="1" HEIGHT="1"/>'), "out of range"),
        (page('<TextLine BASELINE="nan,1 2,3"/>'), "out of range"),
        (b'<!DOCTYPE alto [<!ENTITY a "b">]><alto><Page WIDTH="1" HEIGHT="1"/></alto>', "DOCTYPE"),
        (b'<alto><Layout><Page WIDTH="0" HEIGHT="1"/></Layout></alto>', "no size"),
    ],
)
def test_what_is_no_usable_alto_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(PageError, match=reason):
        alto_read.read(data)
