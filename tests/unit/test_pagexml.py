from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from pero_worker.errors import PageError
from pero_worker.formats import pagexml
from pero_worker.page import Line, Page, Region, Word

SCHEMAS = Path(__file__).parents[1] / "schemas"
SCHEMA = etree.XMLSchema(etree.parse(SCHEMAS / "pagecontent-2019-07-15.xsd"))
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMESPACES = {"p": pagexml.NAMESPACE}

_coordinates = st.floats(-500, 3000, allow_nan=False).map(lambda value: round(value, 2))
_polygons = st.lists(st.tuples(_coordinates, _coordinates), max_size=6).map(tuple)
_texts = st.text(max_size=12) | st.sampled_from(["", "a\x00b", "\ud800", "&<>\"'", "two words", "x\r\ny", "\U0001f600"])
_confidences = st.none() | st.floats(-0.5, 1.5, allow_nan=False)
_ids = st.sampled_from(["r1", "l1", "1bad", "", "a b", "é", "reading_order", "w0001", "r0002"]) | st.text(max_size=5)
_words = st.builds(Word, text=_texts, polygon=_polygons, confidence=_confidences)
_lines = st.builds(
    Line,
    id=_ids,
    baseline=_polygons,
    polygon=_polygons,
    heights=st.none() | st.tuples(st.floats(0, 200), st.floats(0, 200)),
    text=st.none() | _texts,
    confidence=_confidences,
    words=st.lists(_words, max_size=3).map(tuple),
)
_regions = st.builds(
    Region,
    id=_ids,
    polygon=_polygons,
    lines=st.lists(_lines, max_size=3).map(tuple),
    kind=st.sampled_from([None, "heading", "no such kind"]),
)
PAGES = st.builds(
    Page,
    name=_texts,
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    regions=st.lists(_regions, max_size=3).map(tuple),
)
"""Pages as hostile as the records allow: odd ids, control characters, coordinates off the page, no outline."""


def page() -> Page:
    words = (
        Word(text="Dobrý", polygon=((100.0, 90.0), (200.0, 90.0), (200.0, 130.0), (100.0, 130.0)), confidence=0.9),
        Word(text="den", polygon=((220.0, 90.0), (300.0, 90.0), (300.0, 130.0), (220.0, 130.0)), confidence=0.75),
    )
    line = Line(
        id="r1-l1",
        baseline=((100.0, 120.0), (300.0, 122.0)),
        polygon=((100.0, 90.0), (300.0, 90.0), (300.0, 130.0), (100.0, 130.0)),
        heights=(30.0, 8.5),
        text="Dobrý den",
        confidence=0.85,
        words=words,
    )
    first = Region(
        id="r1", polygon=((90.0, 80.0), (310.0, 80.0), (310.0, 140.0), (90.0, 140.0)), lines=(line,), kind="heading"
    )
    return Page(
        name="scan.jpg",
        width=1000,
        height=1400,
        regions=(first, replace(first, id="r2", lines=(replace(line, id="r2-l1", words=()),))),
    )


def written(record: Page) -> bytes:
    return pagexml.write(record, created=CREATED, creator="test 1")


def xml(
    inside: str = "", *, page_attributes: str = 'imageFilename="a.jpg" imageWidth="100" imageHeight="200"'
) -> bytes:
    return f'<PcGts xmlns="{pagexml.NAMESPACE}"><Page {page_attributes}>{inside}</Page></PcGts>'.encode()


def line_xml(inside: str, attributes: str = 'id="l"') -> bytes:
    return xml(
        f'<TextRegion id="r"><Coords points="0,0 9,0 9,9"/><TextLine {attributes}>{inside}</TextLine></TextRegion>'
    )


def only_line(data: bytes) -> Line:
    (line,) = pagexml.read(data).lines()
    return line


BOX = '<Coords points="10,10 90,10 90,50 10,50"/>'
BASE = '<Baseline points="10,40 90,40"/>'


def test_what_was_written_is_read_back_equal_and_written_again_as_the_same_bytes() -> None:
    assert pagexml.read(written(page())) == page()
    assert written(pagexml.read(written(page()))) == written(page())


def test_the_example_is_valid_and_lists_every_region_in_reading_order() -> None:
    root = etree.fromstring(written(page()))
    SCHEMA.assertValid(root)
    assert root.xpath("//p:RegionRefIndexed/@regionRef", namespaces=NAMESPACES) == ["r1", "r2"]


def test_line_heights_are_written_without_spaces_as_pero_reads_them() -> None:
    root = etree.fromstring(written(page()))
    assert (
        root.xpath("//p:TextLine/@custom", namespaces=NAMESPACES)
        == ["readingOrder {index:0;} heights_v2:[30.0,8.5]"] * 2
    )


def test_words_come_before_the_text_of_their_line() -> None:
    root = etree.fromstring(written(page()))
    line = root.find(".//p:TextLine", NAMESPACES)
    assert line is not None
    assert [etree.QName(child).localname for child in line] == ["Coords", "Baseline", "Word", "Word", "TextEquiv"]


def test_a_page_without_regions_has_no_reading_order_and_is_valid() -> None:
    root = etree.fromstring(written(Page(name="a.png", width=10, height=10)))
    SCHEMA.assertValid(root)
    assert root.find(".//p:ReadingOrder", NAMESPACES) is None


def test_coordinates_are_clipped_to_the_page() -> None:
    region = Region(id="r", polygon=((-5.0, -0.6), (1e9, 3.0), (20.4, 1e9)))
    root = etree.fromstring(written(Page(name="a.png", width=30, height=40, regions=(region,))))
    assert root.xpath("//p:TextRegion/p:Coords/@points", namespaces=NAMESPACES) == ["0,0 15,1 30,3 20,40"]


@given(PAGES)
def test_any_page_is_valid_again_after_a_round_trip_and_settles(record: Page) -> None:
    first = written(record)
    SCHEMA.assertValid(etree.fromstring(first))
    assert written(record) == first
    second = written(pagexml.read(first))
    SCHEMA.assertValid(etree.fromstring(second))
    assert written(pagexml.read(second)) == second


def test_control_characters_and_lone_surrogates_are_removed() -> None:
    record = page()
    line = replace(record.regions[0].lines[0], text="a\x00b\ud800c\x1b", words=())
    record = replace(record, name="s\x01.jpg", regions=(replace(record.regions[0], lines=(line,)),))
    back = pagexml.read(written(record))
    assert (back.name, next(back.lines()).text) == ("s.jpg", "abc")


@pytest.mark.parametrize("year", ["2010-03-19", "2013-07-15", "2017-07-15", "2018-07-15", "2019-07-15"])
def test_every_version_of_the_namespace_is_read(year: str) -> None:
    data = written(page()).replace(b"2019-07-15", year.encode())
    assert pagexml.read(data) == page()


@pytest.mark.parametrize(
    "attributes",
    [
        'imageHeight="200"',
        'imageWidth="" imageHeight="200"',
        'imageWidth="0" imageHeight="200"',
        'imageWidth="-5" imageHeight="200"',
        'imageWidth="1000000000" imageHeight="200"',
        'imageWidth="1000001" imageHeight="200"',
        'imageWidth="1e3" imageHeight="200"',
        'imageWidth="nan" imageHeight="200"',
        'imageWidth="٣" imageHeight="200"',
    ],
)
def test_a_size_that_is_none_is_a_permanent_error(attributes: str) -> None:
    with pytest.raises(PageError, match="imageWidth") as caught:
        pagexml.read(xml(page_attributes=f'imageFilename="a" {attributes}'))
    assert caught.value.permanent


@pytest.mark.parametrize(
    "points", ["nan,1 2,3 4,5", "inf,1 2,3", "1e30,1 2,3", "a,b c,d", "1 2 3", "1,2,3 4,5", "-1e8,0 1,1"]
)
def test_points_that_are_none_are_a_permanent_error(points: str) -> None:
    with pytest.raises(PageError) as caught:
        pagexml.read(line_xml(f'<Coords points="{points}"/>{BASE}'))
    assert caught.value.permanent


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"<PcGts>",
        b"<alto/>",
        b"<PcGts/>",
        b'<?xml version="1.0" encoding="no-such"?><PcGts/>',
        b"\xff\xfe\x00",
        b"<a>" * 5000,
        b"<PcGts><Page imageWidth='1' imageHeight='1'>\x00</Page></PcGts>",
    ],
    ids=range(9),
)
def test_what_is_not_page_xml_is_a_permanent_error(data: bytes) -> None:
    with pytest.raises(PageError) as caught:
        pagexml.read(data)
    assert caught.value.permanent


def test_entities_are_refused_and_files_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    for doctype in (
        f'<!DOCTYPE PcGts [<!ENTITY x SYSTEM "{secret.as_uri()}">]>',
        '<!DOCTYPE PcGts [<!ENTITY a "aaaaaaaaaa"><!ENTITY x "&a;&a;&a;&a;">]>',
        f'<!DOCTYPE PcGts SYSTEM "{secret.as_uri()}">',
    ):
        body = line_xml(f"{BOX}{BASE}<TextEquiv><Unicode>plain</Unicode></TextEquiv>")
        with pytest.raises(PageError, match="DOCTYPE") as caught:
            pagexml.read(doctype.encode() + body)
        assert "the secret" not in str(caught.value)
        entity = line_xml(f"{BOX}{BASE}<TextEquiv><Unicode>&x;</Unicode></TextEquiv>")
        with pytest.raises(PageError) as caught:
            pagexml.read(doctype.encode() + entity)
        assert "the secret" not in str(caught.value)


def test_an_exponential_entity_bomb_is_refused() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))
    bomb = f'<!DOCTYPE PcGts [<!ENTITY e0 "lol">{levels}]>'.encode()
    with pytest.raises(PageError):
        pagexml.read(bomb + xml(page_attributes='imageFilename="&e29;" imageWidth="1" imageHeight="1"'))


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pero_worker.formats.pagexml_read.MAX_BYTES", 100)
    with pytest.raises(PageError, match="larger than"):
        pagexml.read(written(page()))


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\a.jpg", "a.jpg"),
        ("/abs/b.tif", "b.tif"),
        ("plain.png", "plain.png"),
    ],
)
def test_the_image_name_loses_its_folders(given_name: str, name: str) -> None:
    assert (
        pagexml.read(xml(page_attributes=f'imageFilename="{given_name}" imageWidth="1" imageHeight="1"')).name == name
    )


@pytest.mark.parametrize(
    ("custom", "heights"),
    [
        ("heights_v2:[30.5,8.0]", (30.5, 8.0)),
        ("readingOrder {index:0;} heights_v2:[3,4] x", (3.0, 4.0)),
        ("heights:[30, 8]", (30.0, 8.0)),
        ("heights:[30.0,8.0]", (30.0, 8.0)),
        ("heights:[5,30,13]", (30.0, 8.0)),
    ],
)
def test_heights_are_read_in_present_and_older_spellings(custom: str, heights: tuple[float, float]) -> None:
    assert only_line(line_xml(BOX + BASE, f'id="l" custom="{custom}"')).heights == heights


@pytest.mark.parametrize(
    "custom",
    ["", "heights_v2:[nan,1]", "heights_v2:[-3,1]", "heights_v2:[[],{}]", "heights_v2:x", "heights_v2:[1e400,2]"],
)
def test_missing_or_absurd_heights_come_from_the_outline(custom: str) -> None:
    assert only_line(line_xml(BOX + BASE, f'id="l" custom="{custom}"')).heights == (30.0, 10.0)


def test_a_line_without_a_baseline_gets_one_near_its_lower_edge() -> None:
    line = only_line(line_xml(f"{BOX}<TextEquiv><Unicode>x</Unicode></TextEquiv>"))
    assert line.baseline[0][0] == 10
    assert line.baseline[-1][0] == 90
    assert all(30 < y <= 50 for _, y in line.baseline)
    assert line.text == "x"


def test_a_line_without_outline_and_baseline_is_left_out() -> None:
    assert list(pagexml.read(line_xml("")).lines()) == []


def test_the_old_form_of_points_is_read() -> None:
    points = "".join(f'<Point x="{x}" y="{y}"/>' for x, y in ((1, 2), (30, 2), (30, 9)))
    line = only_line(line_xml(f"<Coords>{points}</Coords>{BASE}"))
    assert line.polygon == ((1.0, 2.0), (30.0, 2.0), (30.0, 9.0))


def test_the_text_with_the_lowest_index_wins() -> None:
    texts = "".join(
        f'<TextEquiv index="{index}"{conf}><Unicode>{text}</Unicode></TextEquiv>'
        for index, text, conf in ((2, "no", ""), (0, "yes", ' conf="0.5"'), (1, "nor this", ""))
    )
    line = only_line(line_xml(BOX + BASE + texts))
    assert (line.text, line.confidence) == ("yes", 0.5)


@pytest.mark.parametrize("conf", ["nan", "-0.1", "7", "high", "inf"])
def test_a_confidence_that_is_none_is_ignored(conf: str) -> None:
    line = only_line(line_xml(f'{BOX}{BASE}<TextEquiv conf="{conf}"><Unicode>x</Unicode></TextEquiv>'))
    assert line.confidence is None


def test_words_make_the_text_of_a_line_that_has_none() -> None:
    words = "".join(f'<Word id="{w}">{BOX}<TextEquiv><Unicode>{w}</Unicode></TextEquiv></Word>' for w in ("one", "two"))
    line = only_line(line_xml(BOX + BASE + words))
    assert line.text == "one two"
    assert [word.text for word in line.words] == ["one", "two"]


def test_text_not_recognised_and_recognised_as_empty_differ() -> None:
    assert only_line(line_xml(BOX + BASE)).text is None
    assert only_line(line_xml(f"{BOX}{BASE}<TextEquiv><Unicode/></TextEquiv>")).text == ""


def test_reading_order_is_followed_through_nested_groups_and_indices() -> None:
    order = (
        '<ReadingOrder><OrderedGroup id="g"><RegionRefIndexed index="5" regionRef="a"/>'
        '<OrderedGroupIndexed id="h" index="1"><RegionRefIndexed index="1" regionRef="b"/>'
        '<RegionRefIndexed index="0" regionRef="c"/></OrderedGroupIndexed>'
        '<RegionRefIndexed index="0" regionRef="no-such"/></OrderedGroup></ReadingOrder>'
    )
    regions = "".join(f'<TextRegion id="{name}"><Coords points="0,0 1,1"/></TextRegion>' for name in "uabc")
    assert [region.id for region in pagexml.read(xml(order + regions)).regions] == ["c", "b", "a", "u"]


def test_nested_regions_follow_their_parents_as_regions_of_their_own() -> None:
    inner = f'<TextRegion id="in"><Coords points="0,0 1,1"/><TextLine id="l2">{BOX}{BASE}</TextLine></TextRegion>'
    outer = (
        f'<TextRegion id="out"><Coords points="0,0 1,1"/><TextLine id="l1">{BOX}{BASE}</TextLine>{inner}</TextRegion>'
    )
    record = pagexml.read(xml(outer))
    assert [(region.id, [line.id for line in region.lines]) for region in record.regions] == [
        ("out", ["l1"]),
        ("in", ["l2"]),
    ]


def test_comments_and_processing_instructions_are_no_obstacle() -> None:
    data = line_xml(f"<!-- c --><?pi x?>{BOX}<!-- d -->{BASE}<TextEquiv><!-- e --><Unicode>t</Unicode></TextEquiv>")
    assert only_line(data).text == "t"


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: line_xml(text.replace("\x00", ""))))
def test_any_bytes_are_read_or_refused_with_a_page_error(data: bytes) -> None:
    try:
        record = pagexml.read(data)
    except PageError:
        return
    assert all(math.isfinite(value) for line in record.lines() for point in line.polygon for value in point)


SLANTED = '<Coords points="0,0 1000,200 1000,240 0,40"/>'


def test_heights_of_a_slanted_line_are_measured_from_its_baseline() -> None:
    line = only_line(line_xml(f'{SLANTED}<Baseline points="0,30 1000,230"/>'))
    assert line.heights == pytest.approx((29.4, 9.8), abs=0.1)


def test_a_baseline_made_for_a_slanted_line_is_slanted() -> None:
    line = only_line(line_xml(SLANTED))
    assert [y for _, y in line.baseline] == pytest.approx([32, 232])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_place_that_is_no_number_is_the_pages_failure(value: float) -> None:
    region = Region(id="r", polygon=((0.0, 0.0), (value, 1.0), (1.0, 1.0)))
    with pytest.raises(PageError, match="no number"):
        pagexml.write(Page(name="a.png", width=10, height=10, regions=(region,)), created=CREATED, creator="test")


def test_a_table_is_one_when_it_is_read_again() -> None:
    box = ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0), (1.0, 9.0))
    regions = tuple(Region(id=f"r{n}", polygon=box, kind=kind) for n, kind in enumerate(("table", "paragraph", None)))
    written = pagexml.write(Page(name="p", width=10, height=10, regions=regions), created=CREATED, creator="test")
    assert [region.kind for region in pagexml.read(written).regions] == ["table", "paragraph", None]
    assert written.count(b"<TextRegion") == 3, "nothing that reads PAGE overlooks it"


def test_text_within_a_table_region_is_a_table() -> None:
    inner = b'<TextRegion id="a"><Coords points="1,1 9,1 9,9"/></TextRegion>'
    page = b'<PcGts><Page imageFilename="p" imageWidth="10" imageHeight="10"><TableRegion id="t">%s</TableRegion></Page></PcGts>'
    assert [region.kind for region in pagexml.read(page % inner).regions] == ["table"]
