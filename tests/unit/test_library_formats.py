"""ALTO 2, TEI and Markdown."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from lxml import etree
from test_pagexml import CREATED, PAGES, page

from pero_worker.formats import Document, alto2, installed_formats, tei
from pero_worker.formats.hyphens import joined
from pero_worker.page import Line, Page, Region

# The part of our output that ALTO 2.1 knows; its schema may not be redistributed.
ALTO2 = {
    "alto": set(), "Description": set(), "MeasurementUnit": set(), "sourceImageInformation": set(), "fileName": set(),
    "OCRProcessing": {"ID"}, "ocrProcessingStep": set(), "processingDateTime": set(), "processingSoftware": set(),
    "softwareName": set(), "Layout": set(), "Page": {"ID", "PHYSICAL_IMG_NR", "WIDTH", "HEIGHT", "PC"},
    "PrintSpace": {"ID", "HPOS", "VPOS", "WIDTH", "HEIGHT"}, "TextBlock": {"ID", "HPOS", "VPOS", "WIDTH", "HEIGHT"},
    "Shape": set(), "Polygon": {"POINTS"}, "TextLine": {"ID", "HPOS", "VPOS", "WIDTH", "HEIGHT", "BASELINE"},
    "String": {"ID", "HPOS", "VPOS", "WIDTH", "HEIGHT", "CONTENT", "WC", "SUBS_TYPE", "SUBS_CONTENT"},
    "SP": {"HPOS", "VPOS", "WIDTH"}, "HYP": {"HPOS", "VPOS", "WIDTH", "CONTENT"},
}  # fmt: skip
X = {"t": tei.NAMESPACE}


def line(text: str, place: int = 1) -> Line:
    return Line(
        id=f"l{place}",
        baseline=((0.0, 5.0), (9.0, 5.0)),
        polygon=((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)),
        heights=None,
        text=text,
    )


def region(*texts: str, kind: str | None = None) -> Region:
    return Region(id="r", polygon=((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)), lines=tuple(map(line, texts)), kind=kind)


def document(*pages: Page | None) -> Document:
    names = [f"book/{number:04d}" for number in range(1, len(pages) + 1)]
    return Document(
        name="a/book", source=Path("book.pdf"), pages=pages, page_names=names, dpi=300, created=CREATED, creator="test 1.0"
    )  # fmt: skip


def written(name: str, *pages: Page | None) -> bytes:
    stream = io.BytesIO()
    found = installed_formats()[name]
    found.write(document(*pages), stream)  # type: ignore[call-arg,arg-type]
    return stream.getvalue()


@given(PAGES)
def test_alto_2_holds_only_what_that_version_knows(record: Page) -> None:
    root = etree.fromstring(alto2.write(record, created=CREATED, creator="test"))
    for element in root.iter("*"):
        name = etree.QName(element)
        assert name.namespace == alto2.NAMESPACE
        assert {key for key in element.attrib if not key.startswith("{")} <= ALTO2[name.localname]
        if name.localname == "TextBlock":
            assert element.find(f"{{{alto2.NAMESPACE}}}TextLine") is not None
        for key in ("BASELINE", "HPOS", "WIDTH"):
            float(element.get(key, "0"))


def test_alto_2_of_the_example() -> None:
    root = etree.fromstring(alto2.write(page(), created=CREATED, creator="test"))
    found = Counter(etree.QName(element).localname for element in root.iter("*"))
    assert (found["TextLine"], found["String"], found["Shape"]) == (2, 4, 2)
    assert root.find(f".//{{{alto2.NAMESPACE}}}TextLine").get("BASELINE") == "121"


def test_tei_has_the_text_where_it_stands() -> None:
    root = etree.fromstring(written("tei", page(), None, replace(page(), name="two.jpg")))
    assert root.xpath("//t:pb/@facs", namespaces=X) == ["#p1", "#p3"]
    assert root.xpath("//t:graphic/@url", namespaces=X) == ["scan.jpg", "two.jpg"]
    ids = set(root.xpath("//@xml:id"))
    assert {name.removeprefix("#") for name in root.xpath("//@facs")} <= ids
    assert [text.strip() for text in root.xpath("//t:lb/following-sibling::text()[1]", namespaces=X)] == [
        "Dobrý den"
    ] * 4
    assert root.xpath("string(//t:titleStmt/t:title)", namespaces=X) == "book"


@given(PAGES)
def test_tei_and_markdown_take_any_page(record: Page) -> None:
    root = etree.fromstring(written("tei", record))
    assert len(root.xpath("//@xml:id")) == len(set(root.xpath("//@xml:id")))
    written("markdown", record).decode()


def test_markdown_reads_as_text_does() -> None:
    book = Page(
        name="a",
        width=10,
        height=10,
        regions=(
            region("Title*", kind="heading"),
            region("1. An ex-", "ample of well-", "Known #2"),
            region("7", kind="page-number"),
        ),
    )
    assert written("markdown", book, None, Page(name="b", width=10, height=10)).decode() == (
        "# book\n\n<!-- 0001 -->\n\n## Title\\*\n\n\\1. An example of well- Known \\#2\n\n<!-- 0003 -->\n"
    )


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["a", "b"], "a b"),
        (["exam-", "ple"], "example"),
        (["Nord-", "See"], "Nord- See"),
        (["5-", "a"], "5- a"),
        (["-", "a"], "- a"),
        (["", "a", ""], "a"),
        (["exam¬", "ple"], "example"),
    ],
)
def test_words_that_a_line_end_parted(lines: list[str], text: str) -> None:
    assert joined(lines) == text
