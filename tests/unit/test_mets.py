"""METS of six traditions, and those that nobody wrote on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import Book
from pero_worker.inputs.mets.pages import MetsOptions, book_of
from pero_worker.inputs.mets.read import read_mets

NAMESPACES = 'xmlns:mets="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"'


def file(name: str, href: str, mime: str = "image/jpeg", kind: str = 'LOCTYPE="OTHER" OTHERLOCTYPE="FILE"') -> str:
    return f'<mets:file ID="{name}" MIMETYPE="{mime}"><mets:FLocat {kind} xlink:href="{href}"/></mets:file>'


def group(use: str, *files: str) -> str:
    return f'<mets:fileGrp USE="{use}">{"".join(files)}</mets:fileGrp>'


def page(name: str, *files: str, more: str = "") -> str:
    pointers = "".join(f'<mets:fptr FILEID="{file}"/>' for file in files)
    return f'<mets:div TYPE="page" ID="{name}" {more}>{pointers}</mets:div>'


def mets(groups: str, *pages: str) -> bytes:
    tree = f'<mets:structMap TYPE="PHYSICAL"><mets:div TYPE="physSequence">{"".join(pages)}</mets:div></mets:structMap>'
    return f"<mets:mets {NAMESPACES}><mets:fileSec>{groups}</mets:fileSec>{tree if pages else ''}</mets:mets>".encode()


def book(data: bytes, home: Path | None, *, wanted: str = "", root: Path | None = None) -> Book:
    source = "https://x.example/a/mets.xml" if home is None else str(home / "mets.xml")
    return book_of(read_mets(data, source), source=source, home=home, options=MetsOptions(group=wanted, root=root))


def sources(found: Book, home: Path) -> list[str | None]:
    return [
        None
        if not p.picture
        else str(p.picture.file.relative_to(home))
        if p.picture.file
        else p.picture.url or f"service {p.picture.service.id if p.picture.service else ''}"
        for p in found.pages
    ]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("1.jpg", "2.jpg", "a b.jpg", "c%20d.jpg", "img/3.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path.resolve()


def test_pages_come_by_order_and_groups_by_their_worth(home: Path) -> None:
    groups = (
        group("THUMBS", file("T1", "https://x.example/t.jpg", kind='LOCTYPE="URL"'))
        + group(
            "DEFAULT",
            file("D1", "https://x.example/d.jpg"),
            file("D2", "https://x.example/i/p2/info.json", "application/vnd.kitodo.iiif"),
        )
        + group("MAX", file("M1", "https://x.example/m.jpg"))
        + group("FULLTEXT", file("F1", "https://x.example/1.xml", "text/xml"))
    )
    found = book(
        mets(groups, page("P2", "D2", more='ORDER="2"'), page("P1", "T1", "D1", "M1", "F1", more='ORDER="1"')), None
    )
    assert [p.name for p in found.pages] == ["P1", "P2"]
    assert sources(found, home) == ["https://x.example/m.jpg", "service https://x.example/i/p2"]
    assert sources(book(mets(groups, page("P1", "D1", "M1")), None, wanted="DEFAULT"), home) == [
        "https://x.example/d.jpg"
    ]
    with pytest.raises(NoInputError, match="THUMBS, DEFAULT, MAX, FULLTEXT"):
        book(mets(groups, page("P1", "D1")), None, wanted="OCR-D-IMG")


def test_a_file_of_this_machine_goes_before_its_address(home: Path) -> None:
    both = '<mets:file ID="A" MIMETYPE="image/jpg"><mets:FLocat LOCTYPE="URL" xlink:href="https://x.example/1.jpg"/><mets:FLocat xlink:href="{}"/></mets:file>'
    assert sources(book(mets(group("G", both.format("1.jpg")), page("P", "A")), home), home) == ["1.jpg"]
    assert sources(book(mets(group("G", both.format("gone.jpg")), page("P", "A")), home), home) == [
        "https://x.example/1.jpg"
    ]


def test_paths_are_tried_as_written_and_decoded(home: Path) -> None:
    groups = group(
        "G",
        file("A", "a%20b.jpg"),
        file("B", "c%20d.jpg"),
        file("C", f"file://{home}/img/3.tif"),
        file("D", "./img/../1.jpg"),
    )
    assert sources(book(mets(groups, *(page(n, n) for n in "ABCD")), home), home) == [
        "a b.jpg",
        "c%20d.jpg",
        "img/3.tif",
        "1.jpg",
    ]


@pytest.mark.parametrize(
    "href",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "file:/etc/passwd",
        "file:///etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "link/passwd",
        "ftp://x.example/1.jpg",
        "//x.example/1.jpg",
        "a\\..\\..\\b",
    ],
)
def test_nothing_outside_the_folder_is_read(home: Path, href: str) -> None:
    (home / "link").symlink_to("/etc")
    (found,) = book(mets(group("G", file("A", href)), page("P", "A")), home).pages
    assert found.picture is None
    assert found.problem
    assert not found.skipped


def test_a_wider_root_lets_paths_lead_there(home: Path) -> None:
    inner = home / "img"
    data = mets(group("G", file("A", "../1.jpg")), page("P", "A"))
    assert book(data, inner).pages[0].picture is None
    assert sources(book(data, inner, root=home), home) == ["1.jpg"]


def test_relative_places_of_a_mets_from_an_address_are_addresses(home: Path) -> None:
    data = mets(group("G", file("A", "img/1.jpg"), file("B", "file:///etc/passwd")), page("P", "A"), page("Q", "B"))
    assert sources(book(data, None), home) == ["https://x.example/a/img/1.jpg", None]


def test_nested_groups_areas_and_maps_of_manuscripts(home: Path) -> None:
    data = b"""<m:mets xmlns:m="http://www.loc.gov/METS/" xmlns:l="http://www.w3.org/1999/xlink"><m:fileSec>
      <m:fileGrp ID="MASTER"><m:fileGrp ID="THUMB"><m:file ID="T" MIMETYPE="image/jpeg"><m:FLocat l:href="2.jpg"/></m:file></m:fileGrp>
      <m:fileGrp ID="IMG"><m:file ID="I" MIMETYPE="image/jpeg"><m:FLocat l:href="1.jpg"/></m:file></m:fileGrp></m:fileGrp></m:fileSec>
      <m:structMap TYPE="MANUSCRIPT"><m:div><m:div ID="PAGE_1" TYPE="SINGLE_PAGE">
      <m:fptr><m:area FILEID="T"/></m:fptr><m:fptr><m:area FILEID="I"/></m:fptr></m:div></m:div></m:structMap></m:mets>"""
    found = book(data, home)
    assert (sources(found, home), found.pages[0].name) == (["1.jpg"], "PAGE_1")


def test_lower_case_maps_and_pages_without_ids(home: Path) -> None:
    data = b"""<mets xmlns="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"><fileSec><fileGrp USE="image">
      <file ID="i0"><FLocat xlink:href="1.jpg"/></file><file ID="i1"><FLocat xlink:href="2.jpg"/></file></fileGrp></fileSec>
      <structMap TYPE="physical"><div TYPE="document"><div TYPE="page"><fptr FILEID="i0"/></div><div TYPE="page"><fptr FILEID="i1"/></div></div></structMap></mets>"""
    found = book(data, home)
    assert [p.name for p in found.pages] == ["1", "2"]
    assert found.warnings == ()


def test_without_a_map_the_files_are_the_pages(home: Path) -> None:
    found = book(
        mets(group("THUMBS", file("T", "2.jpg")) + group("IMG", file("A", "1.jpg"), file("B", "img/3.tif"))), home
    )
    assert sources(found, home) == ["1.jpg", "img/3.tif"]
    assert "structMap" in found.warnings[0]


def test_what_is_wrong_is_said_and_the_rest_is_read(home: Path) -> None:
    groups = group(
        "IMG",
        file("A", "1.jpg"),
        file("A", "2.jpg"),
        '<mets:file ID="N" MIMETYPE="image/jpeg"/>',
        file("Z", "z.xml", "application/vnd.kitodo.zoomify"),
    )
    found = book(mets(groups, page("P", "A"), page("P", "A"), page("Q", "gone"), page("R", "N"), page("S", "Z")), home)
    assert sources(found, home) == ["1.jpg", None, None, None, None]
    assert [p.name for p in found.pages] == ["P", "P_2", "Q", "R", "S"]
    reasons = [p.problem for p in found.pages]
    assert "page P" in reasons[1] and "gone" in reasons[2] and "'N'" in reasons[3] and "Zoomify" in reasons[4]
    assert [p.skipped for p in found.pages] == [False, True, True, False, True]
    assert any("'A' is used twice" in warning for warning in found.warnings)
    assert any("'P' is used twice" in warning for warning in found.warnings)


def test_several_pictures_of_one_group(home: Path) -> None:
    (found,) = book(mets(group("IMG", file("A", "1.jpg"), file("B", "2.jpg")), page("P", "A", "B")), home).pages
    assert found.note == "2 pictures are in the group IMG; the first was taken"


def test_leaves_are_pages_where_none_is_called_one(home: Path) -> None:
    data = b"""<mets xmlns="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"><fileSec><fileGrp USE="x">
      <file ID="i0"><FLocat xlink:href="1.jpg"/></file></fileGrp></fileSec><structMap><div TYPE="book"><div TYPE="gathering"><div
      TYPE="leaf" ID="l1"><fptr FILEID="i0"/></div></div></div></structMap></mets>"""
    assert [p.name for p in book(data, home).pages] == ["l1"]
    with pytest.raises(NoInputError, match="nothing to read"):
        book(data.replace(b'<fptr FILEID="i0"/>', b"<div/>"), home)


def test_mets_in_an_answer_of_oai_and_an_answer_without() -> None:
    inner = mets(group("MAX", file("A", "https://x.example/1.jpg")), page("P", "A")).decode()
    assert (
        len(book(f"<OAI-PMH><GetRecord><metadata>{inner}</metadata></GetRecord></OAI-PMH>".encode(), None).pages) == 1
    )
    with pytest.raises(NoInputError, match="no such record"):
        book(b'<OAI-PMH><error code="idDoesNotExist">no such record</error></OAI-PMH>', None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<a", "not well-formed"),
        (b"", "not well-formed"),
        (b"<PcGts/>", "<PcGts>"),
        (mets(""), "without pages"),
        (b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><m>&b;</m>', "entities"),
        (b'<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]><m>&a;</m>', "entities"),
    ],
)
def test_what_is_no_mets_is_refused_in_a_sentence(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=reason) as raised:
        book(data, tmp_path)
    assert "\n" not in str(raised.value)


def test_page_and_alto_of_a_mets_are_the_layouts_of_its_pages(home: Path) -> None:
    """PAGE before ALTO, the last one entered first, and none that lies elsewhere."""
    for name in ("1.xml", "1_seg.xml", "1_alto.xml", "2_alto.xml"):
        (home / name).write_bytes(b"<x/>")
    page_type = "application/vnd.prima.page+xml"
    groups = group("OCR-D-IMG", *(file(f"i{n}", f"{n}.jpg") for n in (1, 2)), file("i3", "img/3.tif"))
    groups += group("OCR-D-BIN", file("b1", "1.xml", page_type)) + group(
        "OCR-D-SEG", file("s1", "1_seg.xml", page_type)
    )
    groups += group("FULLTEXT", file("a1", "1_alto.xml", "text/xml"), file("a2", "2_alto.xml", "application/alto+xml"))
    groups += group(
        "SEG-2", file("s3", "../../etc/passwd", page_type), file("u3", "https://x.example/3.xml", page_type)
    )
    pages = (page("P1", "i1", "b1", "s1", "a1"), page("P2", "i2", "a2"), page("P3", "i3", "s3", "u3"))
    data = mets(groups, *pages)

    def layouts(layout_group: str = "") -> list[str]:
        options = MetsOptions(layout_group=layout_group)
        found = book_of(read_mets(data, "m"), source="m", home=home, options=options)
        return [page.layout.name if page.layout else "" for page in found.pages]

    assert layouts() == ["1_seg.xml", "2_alto.xml", ""]
    assert layouts("OCR-D-BIN") == ["1.xml", "", ""]
    assert layouts("FULLTEXT") == ["1_alto.xml", "2_alto.xml", ""]
    with pytest.raises(NoInputError, match="--mets-layout NONE: m has no such group"):
        layouts("NONE")


GROUPS = group("MAX", file("f1", "1.jpg"), file("f2", "2.jpg"))


def test_the_only_map_may_be_one_of_chapters(home: Path) -> None:
    chapters = '<mets:structMap TYPE="LOGICAL"><mets:div TYPE="book"><mets:div LABEL="I"/></mets:div></mets:structMap>'
    data = mets(GROUPS).replace(b"</mets:mets>", f"{chapters}</mets:mets>".encode())
    found = book(data, home)
    assert sources(found, home) == ["1.jpg", "2.jpg"]
    assert "its only map (structMap) names no files" in found.warnings[0]


def test_a_mets_of_a_series_names_its_volumes() -> None:
    volumes = "".join(
        f'<mets:div TYPE="volume"><mets:mptr LOCTYPE="URL" xlink:href="v{n}.xml"/></mets:div>' for n in "12"
    )
    tree = f'<mets:structMap TYPE="LOGICAL"><mets:div>{volumes}</mets:div></mets:structMap></mets:mets>'
    data = mets("").replace(b"</mets:mets>", tree.encode())
    with pytest.raises(
        NoInputError, match=r"points to 2 others: name those, as https://x.example/a/v1.xml, https://x.exa"
    ):
        book(data, None)


@pytest.mark.parametrize("spoil", [
    lambda data: b"\n \n<?xml version='1.0'?>" + data,
    lambda data: b"\xef\xbb\xbf\n<?xml version='1.0'?>" + data,
    lambda data: data.replace(b"http://www.w3.org/1999/xlink", b"http://www.w3.org/TR/xlink"),
    lambda data: data.replace(b"mets:", b"a-b.c:").replace(b"xlink:", b"z:").replace(b":mets=", b":a-b.c=").replace(b":xlink=", b":z="),
    lambda data: ("<?xml version='1.0' encoding='UTF-8'?>" + data.decode()).encode("utf-16"),
], ids=["blank lines", "mark and blank line", "older XLink", "odd prefixes", "UTF-16"])  # fmt: skip
def test_what_programs_write_that_do_not_look_is_read(home: Path, spoil: Callable[[bytes], bytes]) -> None:
    data = mets(GROUPS, page("P1", "f1"), page("P2", "f2"))
    assert sources(book(spoil(data), home), home) == ["1.jpg", "2.jpg"]
