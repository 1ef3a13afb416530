"""Searchable PDFs say what their text is: checked object by object, and by what poppler and MuPDF make of it."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name
from PIL import Image as Pillow
from PIL import ImageDraw
from viewers import drawn_by_mupdf, drawn_by_pdfium, drawn_by_poppler

from pero_worker.formats import TextPolicy
from pero_worker.formats.bookpdf import write_parts
from pero_worker.formats.pdf import write_searchable_pdf
from pero_worker.page import Line, Page, Region

WIDTH, HEIGHT = 600, 800


def line(name: str, text: str, base: float) -> Line:
    right = 60.0 + 20 * len(text)
    polygon = (60.0, base - 30), (right, base - 30), (right, base + 10), (60.0, base + 10)
    return Line(id=name, baseline=((60.0, base), (right, base)), polygon=polygon, heights=(30.0, 10.0), text=text)


def region(name: str, kind: str | None, *texts: str, base: float) -> Region:
    lines = tuple(line(f"{name}{number}", text, base + 50 * number) for number, text in enumerate(texts))
    return Region(id=name, polygon=lines[0].polygon, lines=lines, kind=kind)


PAGE = Page(
    name="p",
    width=WIDTH,
    height=HEIGHT,
    regions=(
        region("a", "page-number", "17", base=60),
        region("b", "heading", "Of rivers", base=120),
        region("c", "paragraph", "The Danube steam-", "ships went down", "to Galatz", base=200),
        region("d", None, "and back", base=400),
        region("e", "footnote", "1 Vienna", base=500),
        region("f", "catch-word", "more", base=700),
    ),
)
TOLD = ["H1 Of rivers", "P The Danube steam-ships went down to Galatz", "P and back", "Note 1 Vienna"]


def scan(path: Path) -> Path:
    image = Pillow.new("L", (WIDTH, HEIGHT), "white")
    ImageDraw.Draw(image).rectangle((60, 90, 300, 130), fill=40)
    image.save(path)
    return path


def searchable(
    source: Path, pages: Sequence[Page | None], target: Path, text: TextPolicy = TextPolicy.REDO, language: str = ""
) -> Path:
    with target.open("wb") as stream:
        write_searchable_pdf(source, pages, stream, dpi=100, text=text, language=language)
    return target


def told(path: Path) -> list[str]:
    """Returns elements with their text, as poppler reads them."""
    done = subprocess.run(["pdfinfo", "-struct-text", path], capture_output=True, text=True, check=True)
    assert not done.stderr
    found = re.findall(r'^  (\w+) \(\w+\)\n((?:    ".*"\n?)*)', done.stdout, re.MULTILINE)
    assert done.stdout.count("\n  ") >= len(found)
    return [" ".join([kind, *re.findall(r'"(.*)"', text)]) for kind, text in found]


def marks(stream: Any) -> Iterator[tuple[str, int | None]]:
    """Name and number of each marked part; all are closed, within their text objects, and nothing else is shown."""
    depth = 0
    for instruction in pikepdf.parse_content_stream(stream):
        match str(instruction.operator):
            case "BDC" | "BMC":
                depth += 1
                entries = instruction.operands[1] if len(instruction.operands) > 1 else Dictionary()
                yield str(instruction.operands[0]), int(entries["/MCID"]) if "/MCID" in entries else None
            case "EMC":
                depth -= 1
            case "Tj" | "TJ":
                assert depth == 1
            case "BT" | "ET":
                assert depth == 0
    assert depth == 0


def check_structure(pdf: pikepdf.Pdf) -> None:
    """Checks ISO 32000's rules for a structure tree: each element is reached from above and below, each number once."""
    root = pdf.Root.StructTreeRoot
    assert pdf.Root.MarkInfo.Marked is True
    whole = root.K
    assert (whole.S, whole.P.objgen) == (Name.Document, root.objgen)
    tree = pikepdf.NumberTree(root.ParentTree)
    assert set(tree) == set(range(root.ParentTreeNextKey))
    from_above = {}
    for element in whole.K:
        assert element.P.objgen == whole.objgen
        place = element.K
        assert (place.Type, place.Pg.objgen) == (Name.MCR, element.Pg.objgen)
        assert place.Pg.objgen in {sheet.obj.objgen for sheet in pdf.pages}
        assert place.Stm.objgen in {form.objgen for form in place.Pg.Resources.XObject.values()}
        from_above[int(place.Stm.StructParents), int(place.MCID)] = (element.objgen, str(element.S))
    from_below = {
        (key, number): (element.objgen, str(element.S)) for key in tree for number, element in enumerate(tree[key])
    }
    assert from_above == from_below
    for sheet in pdf.pages:
        for form in sheet.Resources.XObject.values():
            if form.get("/Subtype") != "/Form":
                continue
            numbered = [(name, number) for name, number in marks(form) if number is not None]
            key = int(form.StructParents)
            assert [name for name, _ in numbered] == [str(element.S) for element in tree[key]]
            assert [number for _, number in numbered] == list(range(len(numbered)))


def test_what_is_read_from_an_image_is_told_region_by_region(tmp_path: Path) -> None:
    made = searchable(scan(tmp_path / "scan.png"), [PAGE], tmp_path / "out.pdf", language="en-GB")
    assert told(made) == TOLD
    with pikepdf.open(made) as pdf:
        check_structure(pdf)
        assert str(pdf.Root.Lang) == "en-GB"
        assert pdf.Root.ViewerPreferences.DisplayDocTitle is True
        assert pdf.open_metadata().pdfa_status == "2B"
        # All that is drawn is a part of the text or said to be none: the scan, and what stands beside the text.
        (form,) = (item for item in pdf.pages[0].Resources.XObject.values() if item.Subtype == "/Form")
        assert [name for name, number in marks(form) if number is None] == ["/Span", "/Artifact", "/Artifact"]
        assert list(marks(pdf.pages[0])) == [("/Artifact", None)]
    drawn = subprocess.run(["mutool", "draw", "-F", "txt", made], capture_output=True, text=True, check=True)
    assert [word for word in drawn.stdout.split() if word in {"17", "Galatz", "more"}] == ["17", "Galatz", "more"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_book_is_one_tree_one_font_and_made_to_be_kept(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pero_worker.formats.bookpdf._TOGETHER", 2)
    source = scan(tmp_path / "scan.png")
    parts: list[tuple[Path, list[Page | None]]] = [(source, [PAGE]), (source, [None]), (source, [PAGE])]
    target = io.BytesIO()
    write_parts(
        parts[:count], target, name="box/rivers", dpi=100, text=TextPolicy.REDO, language="de", title="Of rivers"
    )
    made = tmp_path / "book.pdf"
    made.write_bytes(target.getvalue())
    assert told(made) == TOLD * (2 if count == 3 else 1)
    with pikepdf.open(made) as pdf:
        check_structure(pdf)
        metadata = pdf.open_metadata()
        assert (metadata.pdfa_status, metadata["dc:title"]) == ("2B", "Of rivers")
        assert str(pdf.Root.Lang) == "de"
        fonts = [
            form.Resources.Font["/F"].objgen
            for sheet in pdf.pages
            for form in sheet.Resources.XObject.values()
            if form.Subtype == "/Form"
        ]
        assert len(set(fonts)) == 1


def test_a_scan_in_a_pdf_is_told_looks_as_before_and_may_be_read_again(tmp_path: Path) -> None:
    source = tmp_path / "scan.pdf"
    Pillow.open(scan(tmp_path / "scan.png")).save(source)
    made = searchable(source, [PAGE], tmp_path / "out.pdf", language="en")
    assert told(made) == TOLD
    changed = replace(PAGE, regions=(region("a", "heading", "On lakes", base=120),))
    again = searchable(made, [changed], tmp_path / "again.pdf", language="fr")
    assert told(again) == ["H1 On lakes"]
    with pikepdf.open(again) as pdf:
        check_structure(pdf)
        assert str(pdf.Root.Lang) == "en"  # What a PDF says about itself is not changed.
    kept = searchable(made, [changed], tmp_path / "kept.pdf", TextPolicy.SKIP)
    assert told(kept) == TOLD
    for drawn in (drawn_by_pdfium, drawn_by_poppler, drawn_by_mupdf):
        before = drawn(source)
        assert all((drawn(path)[0] == before[0]).all() for path in (made, again, kept))


def with_own_text(pdf: pikepdf.Pdf) -> None:
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
    pdf.add_blank_page(page_size=(432, 576))
    pdf.pages[-1].Resources = Dictionary(Font=Dictionary(F1=font))
    pdf.pages[-1].Contents = pdf.make_stream(b"BT /F1 20 Tf 100 300 Td (A title page) Tj ET")


@pytest.mark.parametrize("read", [True, False], ids=["read", "failed"])
def test_where_a_part_of_the_text_would_be_told_of_nothing_is(tmp_path: Path, read: bool) -> None:
    source = tmp_path / "scan.pdf"
    Pillow.open(scan(tmp_path / "scan.png")).save(source)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        with_own_text(pdf)
        pdf.save(source)
    made = searchable(source, [PAGE, PAGE if read else None], tmp_path / "out.pdf")
    with pikepdf.open(made) as pdf:
        assert "/StructTreeRoot" not in pdf.Root and "/MarkInfo" not in pdf.Root
        assert not any(
            "/StructParents" in form for sheet in pdf.pages for form in sheet.Resources.get("/XObject", {}).values()
        )
    target = io.BytesIO()
    write_parts([(source, [PAGE, PAGE]), (source, [PAGE])], target, name="both", dpi=100, text=TextPolicy.REDO)
    with pikepdf.open(target) as pdf:
        assert len(pdf.pages) == 4 and "/StructTreeRoot" not in pdf.Root
    pictures = searchable(source, [PAGE, PAGE], tmp_path / "pictures.pdf", TextPolicy.FORCE)
    assert told(pictures) == TOLD * 2


def test_a_structure_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "scan.pdf"
    Pillow.open(scan(tmp_path / "scan.png")).save(source)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        element = pdf.make_indirect(Dictionary(Type=Name.StructElem, S=Name.Figure, Alt=pikepdf.String("a map")))
        pdf.Root.StructTreeRoot = pdf.make_indirect(Dictionary(Type=Name.StructTreeRoot, K=Array([element])))
        pdf.Root.MarkInfo = Dictionary(Marked=True, Suspects=True)
        pdf.save(source)
    for policy in TextPolicy:
        with pikepdf.open(searchable(source, [PAGE], tmp_path / f"{policy}.pdf", policy)) as pdf:
            assert [str(element.Alt) for element in pdf.Root.StructTreeRoot.K] == ["a map"]
            assert pdf.Root.MarkInfo.Suspects is True
