"""Results of a job together: zips with what is asked for, one PDF, one text."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pytest
from gateway.conftest import V1, Roles, RunningGateway, picture
from PIL import Image

from pero_worker.formats import PageFormat, TextLines, page_formats, pagexml
from pero_worker.gateway.files import DataFolder
from pero_worker.gateway.states import PageState
from pero_worker.gateway.store.schema import pages
from pero_worker.gateway.zipping import Wanted, Zipper
from pero_worker.page import Line, Page, Region


@pytest.fixture(scope="module")
def job(roles: Roles) -> str:
    """Scans, one of which fails, a document between them, and a page that is called `all`; all have one order."""
    user = roles.user
    sides = [Image.new("L", (200, 100 + number), 255) for number in range(2)]
    tiff = io.BytesIO()
    sides[0].save(tiff, "TIFF", save_all=True, append_images=sides[1:])
    images = [{"name": name, "order": 1} for name in ("a.jpg", "book.tif", "fail.jpg", "all.jpg")]
    made = str(user.data("POST", "/jobs", expect="JOB_CREATED", json={"images": images, "name": "Box 7"})["id"])
    user.upload(made, "book.tif", tiff.getvalue())
    for name in ("a.jpg", "fail.jpg", "all.jpg"):
        user.upload(made, name, picture())
    assert user.wait(made)["state"] == "done"
    return made


def zipped(user: V1, job: str, **query: object) -> zipfile.ZipFile:
    reply = user.ask("GET", f"/jobs/{job}/result", params=query)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/zip"), reply.text
    return zipfile.ZipFile(io.BytesIO(reply.content))


def texts_of(content: bytes) -> list[str]:
    with pdfium.PdfDocument(content) as shown:
        return [shown[number].get_textpage().get_text_bounded().strip() for number in range(len(shown))]


def test_one_pdf_of_all_pages(roles: Roles, gateway: RunningGateway, job: str) -> None:
    reply = roles.readonly.ask("GET", f"/jobs/{job}/result", params={"formats": "pdf"})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/pdf"), reply.text
    assert reply.headers["content-disposition"] == f'attachment; filename="{job}.pdf"'
    texts = texts_of(reply.content)
    assert [text.partition(":")[2].partition(",")[0].strip() for text in texts] == [
        "a.jpg",
        "book.tif",
        "book_0002.tif",
        "",
        "all.jpg",
    ]
    assert not list((gateway.data / "unfinished").iterdir())


def test_a_zip_has_what_is_asked_for(roles: Roles, job: str) -> None:
    user = roles.user
    plain = zipped(user, job)
    assert set(plain.namelist()) >= {"a.alto.xml", "book_0002.txt", "all.page.xml", "report.jsonl"}
    assert not any(name.startswith("fail") for name in plain.namelist())
    made = zipped(user, job, formats="hocr,text,pdf", combine="true")
    stems = ("a", "book", "book_0002", "all")
    own = {f"{stem}{suffix}" for stem in stems for suffix in (".hocr", ".txt")}
    assert set(made.namelist()) == {*own, "_all.txt", "_all.pdf", "report.jsonl"}
    assert made.testzip() is None
    assert len(texts_of(made.read("_all.pdf"))) == 5
    together = made.read("_all.txt").decode().split("\f")
    texts = [page.partition(":")[0].strip() for page in together]
    assert texts == ["one line", "one line", "one line", "", "one line"]
    report = [json.loads(line) for line in made.read("report.jsonl").splitlines()]
    assert [sorted(line["outputs"]) for line in report if line["page"] == "a.jpg"] == [["hocr", "text"]]


@pytest.mark.parametrize(("lines", "text"), [(TextLines.KEEP, "hyphen-\nated\n"), (TextLines.JOIN, "hyphenated\n")])
def test_lines_of_a_paragraph_are_joined(tmp_path: Path, lines: TextLines, text: str) -> None:
    files = DataFolder(root=tmp_path)
    files.create()
    read = [Line(id=f"l{text}", baseline=((0, 5), (9, 5)), polygon=(), text=text) for text in ("hyphen-", "ated")]
    page = Page(name="a.jpg", width=90, height=90, regions=(Region(id="r", polygon=(), lines=tuple(read)),))
    now = datetime.now(UTC)
    files.job("J").mkdir()
    files.page_result("J", "P", "page").write_bytes(pagexml.write(page, created=now, creator="x"))
    files.page_result("J", "P", "text").write_bytes(text_format().write(page, created=now, creator="x"))
    empty = dict.fromkeys(column.name for column in pages.c)
    row: dict[str, Any] = {
        **empty,
        "id": "P",
        "name": "a.jpg",
        "state": PageState.DONE,
        "attempts": 1,
        "worker_seconds": 0.0,
    }
    wanted = Wanted(formats=(text_format(),), lines=lines, combined=True)
    rows: Any = [row, {**row, "name": "b.jpg"}]
    content = b"".join(Zipper(files, "J", rows, wanted, now).pieces())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("a.txt").decode() == text
        assert archive.read("all.txt").decode() == f"{text}\f{text}"


def text_format() -> PageFormat:
    (form,) = page_formats(["text"])
    return form


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"formats": "alto", "combine": "true"}, 422),
        ({"formats": "exe"}, 422),
        ({"formats": "pdf,../../x"}, 422),
        ({"formats": ","}, 422),
        ({"text_lines": "JOIN"}, 422),
        ({"combine": "maybe"}, 422),
    ],
)
def test_what_cannot_be_made_is_refused(roles: Roles, job: str, query: dict[str, str], status: int) -> None:
    assert roles.user.ask("GET", f"/jobs/{job}/result", params=query).status_code == status


def test_there_is_no_pdf_before_the_end_or_of_nothing(roles: Roles) -> None:
    user = roles.user
    new = user.create("a.jpg")
    assert user.ask("GET", f"/jobs/{new}/result", params={"formats": "pdf"}).status_code == 425
    nothing = user.ask("GET", f"/jobs/{new}/result", params={"formats": "pdf", "partial": "true"})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "JOB_PDF_IMPOSSIBLE")
    assert zipped(user, new, partial="true", combine="true").namelist() == ["report.jsonl"]
