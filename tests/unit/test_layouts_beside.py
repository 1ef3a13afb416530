"""Layouts next to images, for pipelines that only read text."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
from library import library
from test_run import Workforce

from pero_worker.clock import SystemClock
from pero_worker.engines.registry import needs_layout
from pero_worker.errors import PageError
from pero_worker.formats import pagexml
from pero_worker.formats.alto_read import is_alto
from pero_worker.inputs.naming import SourceDocument
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.fetch import FetchOptions
from pero_worker.jobs.beside import layout_of
from pero_worker.jobs.books import BookSettings
from pero_worker.jobs.job import JobRequest, run_job
from pero_worker.jobs.listener import NullListener
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.plan import PageTask
from pero_worker.jobs.records import Fingerprint
from pero_worker.page import Line, Page, Region
from pero_worker.stage import parse_config
from pero_worker.worker.view import fitted

BOX = ((10.0, 20.0), (110.0, 20.0), (110.0, 50.0), (10.0, 50.0))
PAGE = Page(
    name="p1.png",
    width=200,
    height=100,
    regions=(
        Region(
            id="r",
            polygon=BOX,
            lines=(Line(id="l", baseline=((10.0, 42.0), (110.0, 42.0)), polygon=BOX, heights=(22.0, 8.0)),),
        ),
    ),
)
XML = pagexml.write(PAGE, created=datetime(2026, 1, 1, tzinfo=UTC), creator="c")
ALTO = b"""<?xml version="1.0" encoding="UTF-8"?>
<!-- by somebody -->
<alto xmlns="http://www.loc.gov/standards/alto/ns-v3#"><Layout><Page WIDTH="200" HEIGHT="100"><PrintSpace>
<TextBlock ID="b" HPOS="10" VPOS="20" WIDTH="100" HEIGHT="30">
<TextLine ID="l1" HPOS="10" VPOS="20" WIDTH="100" HEIGHT="30" BASELINE="42"><String CONTENT="wrong" HPOS="1"/></TextLine>
<TextLine ID="l2" BASELINE="10,82 110,84"><Shape><Polygon POINTS="10 60 110 60 110 90 10 90"/></Shape></TextLine>
<TextLine ID="l3" HPOS="10"/>
<TextLine ID="l5" HPOS="10" VPOS="50" WIDTH="100" HEIGHT="10"/>
</TextBlock><TextBlock ID="empty"/></PrintSpace></Page></Layout></alto>"""


def task(path: Path, name: str = "", index: int = 0) -> PageTask:
    fingerprint = Fingerprint(size=0, modified_ns=0, pipeline="", version="", dpi=0)
    document = SourceDocument(path=path, name="p1")
    return PageTask(name=name or "p1", document=document, index=index, fingerprint=fingerprint)


@pytest.mark.parametrize("place", ["p1.xml", "p1.page.xml", "page/p1.xml"])
def test_page_xml_beside_an_image_is_its_layout(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(XML)
    found = layout_of(task(tmp_path / "p1.png"))
    assert found is not None
    assert (found.name, found.content) == ("p1.png_page.xml", XML)
    assert layout_of(task(tmp_path / "p2.png")) is None


def test_older_page_xml_is_taken(tmp_path: Path) -> None:
    old = XML.replace(b"2019-07-15", b"2010-03-19")
    (tmp_path / "p1.xml").write_bytes(old)
    found = layout_of(task(tmp_path / "p1.png"))
    assert found is not None
    assert len(list(pagexml.read(found.content).lines())) == 1


@pytest.mark.parametrize("place", ["p1.xml", "p1.alto.xml", "alto/p1.xml"])
def test_alto_beside_an_image_is_its_layout_without_its_text(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(ALTO)
    found = layout_of(task(tmp_path / "p1.png"))
    assert found is not None
    page = pagexml.read(found.content)
    assert (page.width, page.height) == (200, 100)
    lines = list(page.lines())
    assert [line.id for line in lines] == ["l1", "l2", "l5"]
    assert all(line.text is None for line in lines)
    assert lines[0].baseline == ((10, 42), (110, 42))
    assert lines[0].polygon == BOX
    assert lines[1].baseline == ((10, 82), (110, 84))
    assert lines[2].baseline == ((10, 58), (110, 58))


def test_a_page_of_a_document_has_a_layout_of_its_number(tmp_path: Path) -> None:
    (tmp_path / "p1_0002.xml").write_bytes(XML)
    assert layout_of(task(tmp_path / "p1.tif", "p1_0001", 0)) is None
    assert layout_of(task(tmp_path / "p1.tif", "p1_0002", 1)) is not None


@pytest.mark.parametrize(
    "content",
    [b"", b"no xml", b"<a/>", b"<alto/>", b"<!DOCTYPE x []><alto/>", ALTO.replace(b'WIDTH="200"', b'WIDTH="1e99"'),
     ALTO[:300], XML[:200]],
)  # fmt: skip
def test_a_layout_that_cannot_be_used_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p1.xml").write_bytes(content)
    with pytest.raises(PageError, match=r"p1\.xml"):
        layout_of(task(tmp_path / "p1.png"))


def test_alto_is_told_by_its_first_element() -> None:
    assert is_alto(ALTO)
    assert is_alto(b"<a:alto xmlns:a='x'/>")
    assert not is_alto(XML)
    assert not is_alto(b"<!-- <alto> --><page/>")


def test_a_layout_of_a_smaller_picture_fits_the_image() -> None:
    page = fitted(PAGE, 400, 202)
    assert (page.width, page.height) == (400, 202)
    (line,) = page.lines()
    assert line.polygon[0] == pytest.approx((20, 40.4))
    assert line.heights == pytest.approx((44.44, 16.16))
    assert fitted(PAGE, 200, 100) is PAGE


def test_a_layout_of_another_shape_is_refused() -> None:
    with pytest.raises(PageError, match="200 x 100, the image has 100 x 200"):
        fitted(PAGE, 100, 200)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ("RUN_LAYOUT_PARSER = no\nRUN_LINE_CROPPER = yes\nRUN_OCR = yes", True),
        ("RUN_OCR = yes", True),
        ("RUN_LAYOUT_PARSER = yes\nRUN_OCR = yes", False),
        ("RUN_DECODER = yes", False),
        ("RUN_LAYOUT_PARSER = no", False),
    ],
)
def test_who_reads_lines_and_looks_for_none_wants_a_layout(steps: str, wanted: bool) -> None:
    assert needs_layout(parse_config(f"[PAGE_PARSER]\n{steps}\n", "s")) is wanted
    assert not needs_layout(parse_config(f"[WORKER]\nENGINE = rapidocr\n[PAGE_PARSER]\n{steps}\n", "s"))


def test_alto_in_tenths_of_a_millimetre_fits_the_image(tmp_path: Path) -> None:
    metric = ALTO.replace(b"<Layout>", b"<Description><MeasurementUnit>mm10</MeasurementUnit></Description><Layout>")
    (tmp_path / "p1.xml").write_bytes(metric)
    found = layout_of(task(tmp_path / "p1.png"))
    assert found is not None
    line = next(iter(fitted(pagexml.read(found.content), 400, 200).lines()))
    assert line.polygon[0] == (20, 40)


class Reader(Workforce):
    """Keeps the lines that its pages arrive with."""

    def __init__(self, *, wants_layout: bool) -> None:
        super().__init__({})
        self.wants_layout = wants_layout
        self.layouts: dict[str, str] = {}

    def hand_in(self, page_id: str, task: PageTask) -> None:
        found = layout_of(task) if self.wants_layout else None
        self.layouts[task.name] = pagexml.read(found.content).name if found else ""
        super().hand_in(page_id, task)


@pytest.mark.parametrize("wanted", [True, False], ids=["read text", "find lines, too"])
@pytest.mark.parametrize("saved", [True, False], ids=["mets saved", "mets at its address"])
def test_lines_that_lie_elsewhere_are_fetched_for_those_who_want_them(
    tmp_path: Path, wanted: bool, saved: bool
) -> None:
    groups = {"MAX": "image/jpeg", "FULLTEXT": "text/xml", "OCR-D-SEG-LINE": "application/vnd.prima.page+xml"}
    files = {"MAX": "1234", "FULLTEXT": "12", "OCR-D-SEG-LINE": "13"}
    with library() as server:
        for number in files["MAX"]:
            server.put_picture(f"/{number}/MAX")
        server.put("/1/FULLTEXT", ALTO, "text/xml")
        server.put("/2/FULLTEXT", ALTO, "text/xml")
        server.put("/1/OCR-D-SEG-LINE", XML, "text/xml")
        server.put("/3/OCR-D-SEG-LINE", b"<html/>", "text/html")

        def group(name: str) -> str:
            place = "HOME/" if saved or name == "MAX" else ""
            listed = (
                f'<file ID="{name}{n}" MIMETYPE="{groups[name]}"><FLocat LOCTYPE="URL" x:href="{place}{n}/{name}"/></file>'
                for n in files[name]
            )
            return f'<fileGrp USE="{name}">{"".join(listed)}</fileGrp>'

        def page(number: str) -> str:
            pointers = (f'<fptr FILEID="{name}{number}"/>' for name in groups if number in files[name])
            return f'<div TYPE="page" ID="P{number}">{"".join(pointers)}</div>'

        pages = "".join(map(page, files["MAX"]))
        mets = (
            '<mets xmlns="http://www.loc.gov/METS/" xmlns:x="http://www.w3.org/1999/xlink">'
            f'<fileSec>{"".join(map(group, groups))}</fileSec><structMap TYPE="PHYSICAL">{pages}</structMap></mets>'
        )
        address = server.put("/mets.xml", mets, "text/xml")
        (tmp_path / "saved.xml").write_text(mets.replace("HOME", server.home))
        reader = Reader(wants_layout=wanted)
        request = JobRequest(
            paths=[str(tmp_path / "saved.xml") if saved else address],
            output=tmp_path / "out",
            options=RunOptions(formats=("page",)),
            workforce=lambda _folder, _listener: nullcontext(reader),
            books=BookSettings(
                cache=tmp_path / "cache", fetching=FetchOptions(rate=1000, rules=AddressRules(allow_private=True))
            ),
        )
        summary = run_job(request, NullListener(), SystemClock())
        asked = {path for path, _ in server.asked}
    if not wanted:
        assert reader.layouts == dict.fromkeys(("P1", "P2", "P3", "P4"), "")
        assert asked <= {"/mets.xml", *(f"/{number}/MAX" for number in "1234")}
        return
    assert reader.layouts == {"P1": "p1.png", "P2": "", "P4": ""}
    assert {"/1/OCR-D-SEG-LINE", "/2/FULLTEXT"} <= asked and "/1/FULLTEXT" not in asked
    (failure,) = summary.failures
    assert failure.page == "P3"
    assert f"{server.home}/3/OCR-D-SEG-LINE: the PAGE XML cannot be used" in failure.error
