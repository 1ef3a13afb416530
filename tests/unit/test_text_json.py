from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from test_pagexml import CREATED, PAGES, page

from pero_worker.errors import UsageError
from pero_worker.formats import installed_formats, jsonpage, page_formats, pagexml, parse_formats, text
from pero_worker.page import Line, Page, Region


def plain(record: Page) -> str:
    return text.write(record, created=CREATED, creator="x").decode()


def parsed(record: Page) -> dict[str, object]:
    loaded = json.loads(jsonpage.write(record, created=CREATED, creator="test 1"))
    assert isinstance(loaded, dict)
    return loaded


def line(content: str | None) -> Line:
    return Line(id="l", baseline=((0.0, 5.0), (9.0, 5.0)), polygon=(), heights=None, text=content)


def test_lines_are_lines_and_regions_are_apart() -> None:
    first, second = (
        Region(id="a", polygon=(), lines=(line("one"), line("two"))),
        Region(id="b", polygon=(), lines=(line("three"),)),
    )
    assert plain(Page(name="p", width=9, height=9, regions=(first, second))) == "one\ntwo\n\nthree\n"


@pytest.mark.parametrize(
    "regions", [(), (Region(id="a", polygon=()),), (Region(id="a", polygon=(), lines=(line(None), line(""))),)]
)
def test_without_text_the_file_is_empty(regions: tuple[Region, ...]) -> None:
    assert plain(Page(name="p", width=9, height=9, regions=regions)) == ""


def test_lines_and_regions_without_text_leave_no_gaps() -> None:
    regions = (
        Region(id="a", polygon=(), lines=(line("x"), line(None), line("y"))),
        Region(id="b", polygon=()),
        Region(id="c", polygon=(), lines=(line("z"),)),
    )
    assert plain(Page(name="p", width=9, height=9, regions=regions)) == "x\ny\n\nz\n"


def test_text_is_utf_8_without_control_characters() -> None:
    assert (
        plain(
            Page(
                name="p",
                width=9,
                height=9,
                regions=(Region(id="a", polygon=(), lines=(line("ě\x00\ud800\U0001f600"),)),),
            )
        )
        == "ě\U0001f600\n"
    )


def test_json_holds_the_whole_record() -> None:
    record = page()
    loaded = parsed(record)
    assert (loaded["name"], loaded["width"], loaded["height"]) == ("scan.jpg", 1000, 1400)
    assert (loaded["creator"], loaded["created"]) == ("test 1", "2026-01-02T03:04:05+00:00")
    first = loaded["regions"][0]  # type: ignore[index]
    assert first["kind"] == "heading"
    (inner,) = first["lines"]
    assert inner["text"] == "Dobrý den"
    assert inner["heights"] == [30.0, 8.5]
    assert inner["baseline"] == [[100.0, 120.0], [300.0, 122.0]]
    assert inner["words"][1] == {
        "text": "den",
        "polygon": [[220.0, 90.0], [300.0, 90.0], [300.0, 130.0], [220.0, 130.0]],
        "confidence": 0.75,
    }


def test_json_keeps_letters_as_they_are_and_unknown_text_as_null() -> None:
    record = replace(page(), regions=(Region(id="r", polygon=(), lines=(line("ěšč"), line(None))),))
    data = jsonpage.write(record, created=CREATED, creator="x")
    assert "ěšč".encode() in data
    assert [item["text"] for item in json.loads(data)["regions"][0]["lines"]] == ["ěšč", None]


@given(PAGES)
def test_every_format_of_any_page_is_written_and_decodes(record: Page) -> None:
    read = pagexml.read(pagexml.write(record, created=CREATED, creator="x"))
    for kind in page_formats(tuple(installed_formats())):
        data = kind.write(read, created=CREATED, creator="x")
        assert kind.write(read, created=CREATED, creator="x") == data
        data.decode("utf-8", "strict")
    loaded = parsed(read)
    assert len(loaded["regions"]) == len(read.regions)  # type: ignore[arg-type]


def test_formats_have_their_suffixes_and_none_ends_with_another() -> None:
    formats = installed_formats()
    assert {name: kind.suffix for name, kind in formats.items()} == {
        "page": ".page.xml",
        "alto": ".alto.xml",
        "alto2": ".alto2.xml",
        "text": ".txt",
        "hocr": ".hocr",
        "json": ".json",
        "pdf": ".pdf",
        "tei": ".tei.xml",
        "markdown": ".md",
    }
    suffixes = [kind.suffix for kind in formats.values()]
    assert not any(a != b and a.endswith(b) for a in suffixes for b in suffixes)
    assert all(name == kind.name for name, kind in formats.items())


def test_formats_are_parsed_in_order_without_repetition() -> None:
    assert parse_formats("pdf, ALTO,page,alto") == ("pdf", "alto", "page")
    assert parse_formats("all") == ("page", "alto", "alto2", "text", "hocr", "json", "pdf", "tei", "markdown")


@pytest.mark.parametrize("names", ["", " , ", "page,docx", "txt"])
def test_an_unknown_format_is_a_usage_error_that_names_the_valid_ones(names: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_formats(names)
    assert all(known in str(caught.value) for known in installed_formats())


def test_a_line_break_inside_a_line_does_not_make_two() -> None:
    assert (
        plain(Page(name="p", width=9, height=9, regions=(Region(id="a", polygon=(), lines=(line("a\nb\tc\u2028d"),)),)))
        == "a b c d\n"
    )
