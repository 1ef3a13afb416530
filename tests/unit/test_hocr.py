from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from lxml import etree
from test_pagexml import CREATED, PAGES, page

from pero_worker.formats import hocr, pagexml
from pero_worker.page import Line, Page, Region

XHTML = {"h": "http://www.w3.org/1999/xhtml"}


def written(record: Page) -> etree._Element:
    data = hocr.write(record, created=CREATED, creator="test 1")
    return etree.fromstring(data, etree.XMLParser(load_dtd=False, no_network=True))


def of_class(root: etree._Element, name: str) -> list[etree._Element]:
    found = root.xpath(f"//h:*[@class='{name}']", namespaces=XHTML)
    assert isinstance(found, list)
    return [element for element in found if isinstance(element, etree._Element)]


def test_page_areas_lines_and_words_are_nested_with_their_boxes() -> None:
    root = written(page())
    (sheet,) = of_class(root, "ocr_page")
    assert sheet.get("title") == 'image "scan.jpg"; bbox 0 0 1000 1400; ppageno 0'
    assert [area.get("title") for area in of_class(root, "ocr_carea")] == ["bbox 90 80 310 140"] * 2
    words = of_class(root, "ocrx_word")
    assert [word.text for word in words] == ["Dobrý", "den"] * 2
    assert words[0].get("title") == "bbox 100 90 200 130; x_wconf 90"
    chain = [parent.get("class") for parent in words[0].iterancestors()]
    assert chain[:4] == ["ocr_line", "ocr_par", "ocr_carea", "ocr_page"]


def test_kinds_are_elements_around_paragraphs() -> None:
    box = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))
    kinds = ("header", "paragraph", "caption", "page-number", "table", None)
    regions = tuple(Region(id=f"r{number}", polygon=box, kind=kind) for number, kind in enumerate(kinds))
    root = written(Page(name="p", width=10, height=10, regions=regions))
    chains = [[parent.get("class") for parent in par.iterancestors()][:2] for par in of_class(root, "ocr_par")]
    found = [chain[0] for chain in chains]
    assert found == ["ocr_header", "ocr_carea", "ocr_caption", "ocr_pageno", "ocr_table", "ocr_carea"]
    assert len({element.get("id") for element in root.iter() if element.get("id")}) == 1 + 2 * 6 + 4


def test_the_baseline_is_slope_and_offset_from_the_lower_left_corner() -> None:
    baseline = ((100.0, 120.0), (300.0, 130.0))
    box = ((100.0, 90.0), (300.0, 90.0), (300.0, 140.0), (100.0, 140.0))
    root = written(
        Page(
            name="a",
            width=500,
            height=500,
            regions=(
                Region(
                    id="r", polygon=box, lines=(Line(id="l", baseline=baseline, polygon=box, heights=None, text="x"),)
                ),
            ),
        )
    )
    (line,) = of_class(root, "ocr_line")
    assert line.get("title") == "bbox 100 90 300 140; baseline 0.0500 -20"


def test_the_head_names_what_hocr_demands() -> None:
    root = written(page())
    named = {str(meta.get("name")): str(meta.get("content")) for meta in root.iter(f"{{{XHTML['h']}}}meta")}
    assert named["ocr-system"] == "test 1"
    used = {str(element.get("class")) for element in root.iter() if element.get("class")}
    assert used <= set(named["ocr-capabilities"].split())


def test_text_and_names_cannot_break_out_of_the_markup() -> None:
    line = replace(page().regions[0].lines[0], text="</span><script>", words=())
    record = Page(
        name='a";bbox 1 2 3 4;"<b>.jpg',
        width=100,
        height=100,
        regions=(Region(id="r", polygon=line.polygon, lines=(line,)),),
    )
    root = written(record)
    assert not root.findall(".//h:script", XHTML)
    assert [word.text for word in of_class(root, "ocrx_word")] == ["</span><script>"]
    (sheet,) = of_class(root, "ocr_page")
    assert str(sheet.get("title")).count('"') == 2


@given(PAGES)
def test_any_page_is_well_formed_with_unique_ids_and_whole_boxes(record: Page) -> None:
    root = written(pagexml.read(pagexml.write(record, created=CREATED, creator="x")))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in (*of_class(root, "ocr_carea"), *of_class(root, "ocr_line"), *of_class(root, "ocrx_word")):
        box = re.match(r"bbox (\d+) (\d+) (\d+) (\d+)(;|$)", str(element.get("title")))
        assert box is not None
        left, top, right, bottom = (int(value) for value in box.groups()[:4])
        assert left < right
        assert top < bottom
