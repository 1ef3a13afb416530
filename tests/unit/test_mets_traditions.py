"""METS as other programs and national programmes write them: which pages, in which order, called what, from where."""

from __future__ import annotations

import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import Book
from pero_worker.inputs.exports import mets_in, unpack_export
from pero_worker.inputs.mets.pages import MetsOptions, book_of
from pero_worker.inputs.mets.read import read_all_mets, read_mets

Location = str | tuple[str, str]
"""What a FLocat says, or that and its LOCTYPE."""


def document(*groups: str, maps: str, more: str = "", attributes: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<mets xmlns="http://www.loc.gov/METS/" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" {attributes}>{more}<fileSec>{"".join(groups)}</fileSec>{maps}</mets>'
    )


def group(use: str, *files: str, more: str = "") -> str:
    return f'<fileGrp USE="{use}" {more}>{"".join(files)}</fileGrp>'


def file(name: str, *places: Location, mime: str = 'MIMETYPE="image/jpeg"', inner: str = "") -> str:
    found = [(place, "URL") if isinstance(place, str) else place for place in places]
    locators = "".join(f'<FLocat LOCTYPE="{kind}" xlink:href="{place}"/>' for place, kind in found)
    return f'<file ID="{name}" {mime}>{locators}{inner}</file>'


def physical(*pages: str, attributes: str = 'TYPE="PHYSICAL"', outer: str = "physSequence") -> str:
    return f'<structMap {attributes}><div TYPE="{outer}" ID="PHYS_0000">{"".join(pages)}</div></structMap>'


def page(name: str, *files: str, more: str = "", kind: str = "page", inner: str = "") -> str:
    pointers = "".join(f'<fptr FILEID="{one}"/>' for one in files)
    return f'<div TYPE="{kind}" ID="{name}" {more}>{pointers}{inner}</div>'


def book(text: str, home: Path | None, options: MetsOptions | None = None) -> Book:
    source = "https://x.example/a/mets.xml" if home is None else str(home / "mets.xml")
    return book_of(read_mets(text.encode(), source), source=source, home=home, options=options or MetsOptions())


def told(found: Book, home: Path | None = None) -> list[tuple[str, str, str]]:
    """Name, label, and where the picture is, or why there is none."""
    return [(one.name, one.label, _place(one.picture, home) or one.problem) for one in found.pages]


def _place(picture: object, home: Path | None) -> str:
    own, url = getattr(picture, "file", None), getattr(picture, "url", "")
    return str(own.relative_to(home)) if own and home else url


def write(home: Path, *names: str) -> Path:
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"x")
    return home.resolve()


def test_czech_national_digital_library(tmp_path: Path) -> None:
    """Master and user copies have the same USE; ALTO is 'Layout'; paths begin with slashes."""
    home = write(tmp_path, "mastercopy/mc_1.jp2", "usercopy/uc_1.jp2", "alto/alto_1.xml")
    jp2, xml = 'MIMETYPE="image/jp2"', 'MIMETYPE="text/xml"'
    text = document(
        group("Images", file("mc_1", "/mastercopy/mc_1.jp2", mime=jp2), more='ID="MC_IMGGRP"'),
        group("Images", file("uc_1", r".\usercopy\uc_1.jp2", mime=jp2), more='ID="UC_IMGGRP"'),
        group("Layout", file("alto_1", "/alto/alto_1.xml", mime=xml), more='ID="ALTOGRP"'),
        group("Text", file("txt_1", "/txt/txt_1.txt", mime='MIMETYPE="text/plain"'), more='ID="TXTGRP"'),
        maps='<structMap TYPE="LOGICAL" LABEL="Logical_Structure"><div TYPE="MONOGRAPH" LABEL="Babička"/></structMap>'
        + physical(
            page(
                "DIV_P_PAGE_1", "mc_1", "uc_1", "alto_1", "txt_1", kind="normalPage", more='ORDERLABEL="[1a]" ORDER="1"'
            ),
            attributes='TYPE="PHYSICAL" LABEL="Physical_Structure"',
            outer="Monograph",
        ),
        attributes='LABEL="Němcová, Babička" TYPE="Monograph"',
    )
    found = book(text, home)
    assert told(found, home) == [("DIV_P_PAGE_1", "[1a]", "mastercopy/mc_1.jp2")]
    assert found.pages[0].layout == home / "alto/alto_1.xml"
    assert (found.label, found.warnings) == ("Němcová, Babička", ())
    user_copy = book(text, home, MetsOptions(group="UC_IMGGRP"))
    assert told(user_copy, home)[0][2] == "usercopy/uc_1.jp2"
    with pytest.raises(
        NoInputError, match="its groups are Images, MC_IMGGRP, UC_IMGGRP, Layout, ALTOGRP, Text, TXTGRP"
    ):
        book(text, home, MetsOptions(group="NONE"))


def test_library_of_congress_has_a_group_a_page(tmp_path: Path) -> None:
    home = write(tmp_path, "0001.tif", "0001.jp2")
    files = (
        file("masterFile1", ("file://./0001.tif", "OTHER"), mime='MIMETYPE="image/tiff" USE="master"'),
        file("serviceFile1", ("./0001.jp2", "OTHER"), mime='MIMETYPE="image/jp2" USE="service"'),
        file("otherDerivativeFile1", "./0001.pdf", mime='MIMETYPE="application/pdf" USE="derivative"'),
        file("ocrFile1", "./0001.xml", mime='MIMETYPE="text/xml" USE="ocr"'),
    )
    text = document(
        f'<fileGrp ID="pageFileGrp1">{"".join(files)}</fileGrp>',
        maps='<structMap><div TYPE="np:issue" DMDID="issueModsBib"><div TYPE="np:page" DMDID="pageModsBib1">'
        '<fptr FILEID="masterFile1"/><fptr FILEID="serviceFile1"/><fptr FILEID="otherDerivativeFile1"/>'
        '<fptr FILEID="ocrFile1"/></div></div></structMap>',
        attributes='LABEL="Evening Star, 1865-04-15"',
    )
    found = book(text, home)
    assert told(found, home) == [("0001", "", "0001.tif")]
    assert found.warnings == ("page 1: 2 pictures are in the group pageFileGrp1; the first was taken",)


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("images/0001.tif", "images/0001.tif"),
        (r"images\0001.tif", "images/0001.tif"),
        ("/images/0001.tif", "images/0001.tif"),
        ("file:images/0001.tif", "images/0001.tif"),
        ("file:///images/0001.tif", "images/0001.tif"),
        ("images/B%C3%BChne%201.tif", "images/Bühne 1.tif"),
        ("images/Bühne 1.tif", "images/Bühne 1.tif"),
        (unicodedata.normalize("NFD", "images/Bühne 1.tif"), "images/Bühne 1.tif"),
        ("  images/0001.tif\n", "images/0001.tif"),
    ],
)
def test_paths_as_programs_write_them(tmp_path: Path, href: str, name: str) -> None:
    home = write(tmp_path, name)
    found = book(document(group("LOCAL", file("F", href)), maps=physical(page("P", "F"))), home)
    assert told(found, home) == [("P", "", name)]


@pytest.mark.parametrize(
    "href", [r"C:\scans\0001.tif", "/etc/hostname", r"..\0001.tif", "file://server/share/0001.tif"]
)
def test_paths_that_lead_nowhere_or_out_say_so(tmp_path: Path, href: str) -> None:
    (tmp_path / "0001.tif").write_bytes(b"x")
    home = write(tmp_path / "a", "other.tif")
    ((_, _, problem),) = told(
        book(document(group("LOCAL", file("F", href)), maps=physical(page("P", "F"))), home), home
    )
    assert "is not there" in problem or "--mets-root names a folder" in problem


def test_where_the_best_picture_is_out_of_reach_the_next_is_read_and_said(tmp_path: Path) -> None:
    home = write(tmp_path, "small/1.jpg")
    text = document(
        group("MAX", file("M1", "file:///srv/kitodo/1.tif"), file("M2", ("urn:nbn:de:1", "URN"))),
        group("DEFAULT", file("D1", "small/1.jpg"), file("D2", "https://x.example/2.jpg")),
        group("THUMBS", file("T1", "https://x.example/t.jpg")),
        maps=physical(page("P1", "M1", "D1", "T1"), page("P2", "T1", "D2", "M2")),
    )
    found = book(text, home)
    assert told(found, home) == [("P1", "", "small/1.jpg"), ("P2", "", "https://x.example/2.jpg")]
    assert "lies outside" in found.warnings[0] and "the picture of the group DEFAULT was taken" in found.warnings[0]
    assert "'urn:nbn:de:1' leads to a place that is not followed" in found.warnings[1]
    only = book(text, home, MetsOptions(group="MAX"))
    assert all(one.picture is None and not one.skipped for one in only.pages)


@pytest.mark.parametrize(
    ("orders", "wanted"),
    [
        (("3", "1", "2"), "BCA"),
        (("3", "", "2"), "ABC"),  # As one says nothing, as written.
        (("2", "2", "1"), "CAB"),
        (("i", "ii", "iii"), "ABC"),
        (("10", "9", "1"), "CBA"),
        (("٣", "1", "2"), "ABC"),
    ],
)
def test_the_order_is_what_all_pages_say(orders: Sequence[str], wanted: str) -> None:
    pages = [page(name, f"F{name}", more=f'ORDER="{order}"') for name, order in zip("ABC", orders, strict=True)]
    files = [file(f"F{name}", f"https://x.example/{name}.jpg") for name in "ABC"]
    assert (
        "".join(one.name for one in book(document(group("MAX", *files), maps=physical(*pages)), None).pages) == wanted
    )


def test_chapters_and_links_do_not_change_the_order() -> None:
    text = document(
        group("DEFAULT", *(file(f"F{n}", f"https://x.example/{n}.jpg") for n in (1, 2))),
        maps='<structMap TYPE="LOGICAL"><div ID="LOG_0" TYPE="monograph" LABEL="Faust"><div ID="LOG_2" TYPE="chapter"/>'
        '<div ID="LOG_1" TYPE="title_page"/></div></structMap>'
        + physical(
            page("PHYS_1", "F1", more='ORDER="1" ORDERLABEL=" - "'),
            page("PHYS_2", "F2", more='ORDER="2" ORDERLABEL="II" LABEL="other"'),
        )
        + '<structLink><smLink xlink:from="LOG_2" xlink:to="PHYS_2"/></structLink>',
    )
    found = book(text, None)
    assert [(name, label) for name, label, _ in told(found)] == [("PHYS_1", "-"), ("PHYS_2", "II")]
    assert found.label == "Faust"


def test_double_pages_are_one_where_they_have_the_picture() -> None:
    halves = page("P1a") + page("P1b")
    one = document(
        group("MAX", file("F", "https://x.example/1.jpg"), file("G", "https://x.example/2.jpg")),
        maps=physical(page("D", "F", kind="doublepage", inner=halves), page("P2", "G"), page("P3")),
    )
    assert [(name, place[-5:]) for name, _, place in told(book(one, None))] == [
        ("D", "1.jpg"), ("P2", "2.jpg"), ("P3", "cture")
    ]  # fmt: skip
    two = document(
        group("MAX", file("F", "https://x.example/1.jpg"), file("G", "https://x.example/2.jpg")),
        maps=physical(page("D", kind="doublepage", inner=page("P1a", "F") + page("P1b", "G"))),
    )
    assert [name for name, _, _ in told(book(two, None))] == ["P1a", "P1b"]


@pytest.mark.parametrize(
    "attributes",
    ['TYPE="physical"', 'TYPE="Physical_Structure"', 'LABEL="Physical Structure"', 'TYPE="PHYSICAL" LABEL="x"', ""],
)
def test_maps_of_pages_go_by_many_names(attributes: str) -> None:
    logical = '<structMap TYPE="LOGICAL"><div TYPE="chapter" LABEL="I"/></structMap>' if attributes else ""
    text = document(
        group("MAX", file("F", "https://x.example/b.jpg"), file("G", "https://x.example/a.jpg")),
        maps=logical + physical(page("P1", "G"), page("P2", "F"), attributes=attributes),
    )
    assert [place for _, _, place in told(book(text, None))] == ["https://x.example/a.jpg", "https://x.example/b.jpg"]


def test_files_within_files_and_types_that_are_none(tmp_path: Path) -> None:
    home = write(tmp_path, "1.tif", "1.jpg", "2.jpg", "3.xml")
    inner = file("small", "1.jpg")
    text = document(
        group("", file("archive", "1.zip", mime='MIMETYPE="application/zip"', inner=inner)),
        group(
            "IMAGES", file("word", "2.jpg", mime='MIMETYPE="JPEG"'), file("text", "3.xml", mime='MIMETYPE="unknown"')
        ),
        maps=physical(page("P1", "archive", "small"), page("P2", "text", "word"), page("P3", "text")),
    )
    assert told(book(text, home), home) == [
        ("P1", "", "1.jpg"), ("P2", "", "2.jpg"), ("P3", "", "the page has no picture")
    ]  # fmt: skip


def test_pages_that_have_a_pdf_alone_say_what_to_do(tmp_path: Path) -> None:
    text = document(
        group("DOWNLOAD", file("F", "1.pdf", mime='MIMETYPE="application/pdf"')), maps=physical(page("P1", "F"))
    )
    assert "name the PDF itself" in book(text, tmp_path).pages[0].problem


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ("<mods:titleInfo xmlns:mods='m'><mods:nonSort>Der</mods:nonSort><mods:title>Faust</mods:title></mods:titleInfo>", "Faust"),
        ("<goobi:metadata xmlns:goobi='g' name='TitleDocMain'>Faust, \n Teil 1</goobi:metadata>", "Faust, Teil 1"),
        ("<kitodo:metadata xmlns:kitodo='k' name='TSL_ATS'>faus</kitodo:metadata>", "Band"),
        ("<dc:title xmlns:dc='d'> </dc:title>", "Band"),
    ],
)  # fmt: skip
def test_titles_of_several_kinds_of_description(more: str, title: str) -> None:
    described = f'<dmdSec ID="D"><mdWrap><xmlData>{more}</xmlData></mdWrap></dmdSec>'
    maps = '<structMap TYPE="LOGICAL"><div TYPE="volume" LABEL="Band"/></structMap>' + physical(page("P", "F"))
    found = book(document(group("MAX", file("F", "https://x.example/1.jpg")), maps=maps, more=described), None)
    assert found.label == title and found.name == title


def records(*labels: str, token: str = "") -> bytes:
    made = "".join(
        "<record><metadata>"
        + document(
            group("MAX", file("F", f"https://x.example/{label}.jpg")),
            maps=physical(page("P", "F")),
            attributes=f'LABEL="{label}"',
        ).partition("\n")[2]
        + "</metadata></record>"
        for label in labels
    )
    more = f"<resumptionToken>{token}</resumptionToken>" if token else "<resumptionToken/>"
    return f"<OAI-PMH xmlns='o'><ListRecords>{made}{more}</ListRecords></OAI-PMH>".encode()


def test_an_answer_of_oai_with_several_records_is_several_books() -> None:
    found = list(read_all_mets(records("One", "Two"), "s"))
    assert [(mets.label, [one.id for one in mets.pages], mets.warnings) for mets in found] == [
        ("One", ["P"], ()),
        ("Two", ["P"], ()),
    ]
    more = list(read_all_mets(records("One", token="next"), "s"))
    assert more[0].warnings == ("there are more records behind its resumptionToken, which are not asked for",)


def test_an_archive_of_several_exported_documents(tmp_path: Path) -> None:
    """As Transkribus makes it of a collection; on Windows, or with names in UTF-8 that nobody announced."""
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in (
            "collection/1/A/mets.xml", r"collection\2\B\mets.xml", r"collection\2\B\page\0001.xml", "collection\\2\\B\\empty\\",
            "collection/1/A/deeper/mets.xml", "__MACOSX/collection/1/A/._mets.xml", "__MACOSX/mets.xml",
        ):  # fmt: skip
            packed.writestr(name, b"x")
        packed.writestr("collection/1/A/B__hne.jpg", b"x")
    # Python announces UTF-8 where a name needs it; others do not.
    archive.write_bytes(archive.read_bytes().replace(b"B__hne", "Bühne".encode()))
    folder = unpack_export(archive, tmp_path / "scratch")
    assert [str(path.relative_to(folder)) for path in mets_in(folder)] == [
        "collection/1/A/mets.xml",
        "collection/2/B/mets.xml",
    ]
    assert (folder / "collection/2/B/page/0001.xml").is_file()
    assert (folder / "collection/1/A/Bühne.jpg").is_file()
