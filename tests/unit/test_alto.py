from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from lxml import etree
from test_pagexml import CREATED, PAGES, page

from pero_worker.formats import alto, pagexml
from pero_worker.formats.words import words_of
from pero_worker.page import Line, Page, Region, Word

SCHEMAS = Path(__file__).parents[1] / "schemas"


class _Imports(etree.Resolver):
    """ALTO's schema imports XLink's from the network."""

    def resolve(self, url: str, public_id: str | None, context: object) -> object:
        return self.resolve_filename(str(SCHEMAS / url.rpartition("/")[2]), context)


def schema() -> etree.XMLSchema:
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Imports())
    return etree.XMLSchema(etree.parse(SCHEMAS / "alto-4-2.xsd", parser))


SCHEMA = schema()
NAMESPACES = {"a": alto.NAMESPACE}


def written(record: Page) -> etree._Element:
    return etree.fromstring(alto.write(record, created=CREATED, creator="test 1"))


def attributes(root: etree._Element, path: str) -> list[str]:
    found = root.xpath(path, namespaces=NAMESPACES)
    assert isinstance(found, list)
    return [str(value) for value in found]


def test_the_example_follows_the_rules_of_alto() -> None:
    SCHEMA.assertValid(written(page()))


def test_a_page_without_regions_follows_the_rules() -> None:
    SCHEMA.assertValid(written(Page(name="a.png", width=10, height=10)))


@given(PAGES)
def test_any_page_that_passed_through_page_xml_follows_the_rules(record: Page) -> None:
    read = pagexml.read(pagexml.write(record, created=CREATED, creator="x"))
    SCHEMA.assertValid(written(read))


def test_the_same_page_gives_the_same_bytes() -> None:
    assert alto.write(page(), created=CREATED, creator="x") == alto.write(page(), created=CREATED, creator="x")


def test_words_have_their_text_confidence_and_box_and_spaces_between() -> None:
    root = written(page())
    line = root.find(".//a:TextLine", NAMESPACES)
    assert line is not None
    assert [etree.QName(child).localname for child in line] == ["Shape", "String", "SP", "String"]
    first, space, second = line[1], line[2], line[3]
    assert (first.get("CONTENT"), first.get("WC"), second.get("CONTENT")) == ("Dobrý", "0.900", "den")
    assert [first.get(name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] == ["100", "90", "100", "40"]
    assert [space.get(name) for name in ("HPOS", "WIDTH")] == ["200", "20"]
    assert line.get("BASELINE") == "100,120 300,122"


def test_lines_without_words_are_split_and_all_ids_differ() -> None:
    root = written(page())
    assert attributes(root, "//a:TextBlock[2]//a:String/@CONTENT") == ["Dobrý", "den"]
    ids = attributes(root, "//@ID")
    assert len(ids) == len(set(ids))


def test_ids_are_kept_where_they_are_valid() -> None:
    assert attributes(written(page()), "//a:TextBlock/@ID") == ["r1", "r2"]
    assert attributes(written(page()), "//a:TextLine/@ID") == ["r1-l1", "r2-l1"]


def test_a_line_not_recognised_has_an_empty_string() -> None:
    line = replace(page().regions[0].lines[0], text=None, words=())
    root = written(
        Page(name="a.png", width=500, height=500, regions=(Region(id="r", polygon=line.polygon, lines=(line,)),))
    )
    SCHEMA.assertValid(root)
    assert attributes(root, "//a:String/@CONTENT") == [""]


def test_words_of_splits_a_line_in_proportion_to_its_characters() -> None:
    box = ((0.0, 0.0), (100.0, 0.0), (100.0, 20.0), (0.0, 20.0))
    line = Line(
        id="l",
        baseline=((0.0, 15.0), (100.0, 15.0)),
        polygon=box,
        heights=(12.0, 4.0),
        text="abcd  efgh",
        confidence=0.5,
    )
    first, second = words_of(line)
    assert (first.text, second.text, first.confidence) == ("abcd", "efgh", 0.5)
    assert first.polygon == ((0.0, 3.0), (40.0, 3.0), (40.0, 19.0), (0.0, 19.0))
    assert second.polygon == ((60.0, 3.0), (100.0, 3.0), (100.0, 19.0), (60.0, 19.0))


def test_words_of_keeps_the_words_there_are_and_makes_none_of_blanks() -> None:
    line = page().regions[0].lines[0]
    assert words_of(line) == line.words
    assert words_of(replace(line, words=(), text="  ")) == ()
    assert words_of(replace(line, words=(), text=None)) == ()


def test_confidences_out_of_range_do_not_make_the_page_invalid() -> None:
    line = replace(page().regions[0].lines[0], confidence=1.4)
    SCHEMA.assertValid(
        written(
            Page(name="a.png", width=500, height=500, regions=(Region(id="r", polygon=line.polygon, lines=(line,)),))
        )
    )


def test_words_of_an_upright_line_follow_its_baseline() -> None:
    box = ((40.0, 0.0), (60.0, 0.0), (60.0, 100.0), (40.0, 100.0))
    first, second = words_of(
        Line(id="l", baseline=((50.0, 0.0), (50.0, 100.0)), polygon=box, heights=(8.0, 2.0), text="ab cd")
    )
    assert first.polygon == ((58.0, 0.0), (58.0, 40.0), (48.0, 40.0), (48.0, 0.0))
    assert second.polygon[0] == (58.0, 60.0)


def test_words_that_an_engine_did_not_place_run_as_their_script_does() -> None:
    def lefts(text: str) -> list[float]:
        outline = ((0, 20), (900, 20), (900, 60), (0, 60))
        line = Line(id="l", baseline=((0, 50), (900, 50)), polygon=outline, heights=(30.0, 10.0), text=text)
        return [word.polygon[0][0] for word in words_of(line)]

    assert lefts("one two three") == sorted(lefts("one two three"))
    assert lefts("שלום עולם 1938") == sorted(lefts("שלום עולם 1938"), reverse=True)


def test_kinds_of_regions_are_tags() -> None:
    first = page().regions[0]
    kinds = ("heading", None, "heading", "marginalia")
    root = written(
        replace(page(), regions=tuple(replace(first, id=f"r{i}", kind=kind) for i, kind in enumerate(kinds)))
    )
    labels = {tag.get("ID"): tag.get("LABEL") for tag in root.iter("{*}LayoutTag")}
    assert [labels.get(block.get("TAGREFS")) for block in root.iter("{*}TextBlock")] == list(kinds)
    assert sorted(labels.values()) == ["heading", "marginalia"]


def test_a_word_that_a_line_end_parts_is_told_as_one() -> None:
    outline = ((100.0, 90.0), (200.0, 90.0), (200.0, 130.0), (100.0, 130.0))
    line = page().regions[0].lines[0]
    lines = tuple(
        replace(line, id=f"l{i}", text=text, words=(Word(text=text, polygon=outline, confidence=0.9),))
        for i, text in enumerate(("Biblio-", "thek", "Schluss-", "Wort", "nach-"))
    )
    root = written(replace(page(), regions=(replace(page().regions[0], lines=lines),)))
    strings = [(s.get("CONTENT"), s.get("SUBS_TYPE"), s.get("SUBS_CONTENT")) for s in root.iter("{*}String")]
    assert strings == [
        ("Biblio", "HypPart1", "Bibliothek"),
        ("thek", "HypPart2", "Bibliothek"),
        ("Schluss-", None, None),
        ("Wort", None, None),
        ("nach-", None, None),
    ]
    SCHEMA.assertValid(root)
    (hyphen,) = root.iter("{*}HYP")
    assert hyphen.get("CONTENT") == "-"
    before = hyphen.getprevious()
    assert int(before.get("HPOS")) + int(before.get("WIDTH")) == int(hyphen.get("HPOS"))
    assert int(hyphen.get("HPOS")) + int(hyphen.get("WIDTH")) == 200
