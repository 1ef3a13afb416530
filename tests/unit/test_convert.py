"""Further formats from existing results; texts and PDFs of many pages."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pikepdf
import pytest
from lxml import etree
from PIL import Image
from test_run import Workforce

from pero_worker.clock import SystemClock
from pero_worker.errors import NoInputError, UsageError
from pero_worker.formats import TextLines, pagexml
from pero_worker.inputs.discover import discover
from pero_worker.jobs.combine import combine_results
from pero_worker.jobs.convert import convert
from pero_worker.jobs.listener import NullListener, Summary
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.records import read_report
from pero_worker.jobs.run import run
from pero_worker.page import Line, Page, Region

PAGES = ("1", "10", "2", "three_0001", "three_0002", "three_0003", "box/4")


def xml(name: str) -> bytes:
    """A page with a heading and a paragraph whose last word is hyphenated."""

    def line(number: int, text: str) -> Line:
        y = 2.0 * number
        polygon = ((1.0, y), (19.0, y), (19.0, y + 1.5), (1.0, y + 1.5))
        return Line(id=f"l{number}", baseline=polygon[2:][::-1], polygon=polygon, heights=(1.0, 0.5), text=text)

    head, *body = (line(number, text) for number, text in enumerate((f"Page {name}", "one two hy-", "phen")))
    outline = ((0.0, 0.0), (20.0, 0.0), (20.0, 10.0), (0.0, 10.0))
    regions = (
        Region(id="r1", polygon=outline, lines=(head,), kind="heading"),
        Region(id="r2", polygon=outline, lines=tuple(body), kind="paragraph"),
    )
    page = Page(name=name, width=20, height=10, regions=regions)
    return pagexml.write(page, created=datetime(2026, 1, 1), creator="test")


def text(name: str, *, joined: bool = False) -> str:
    return f"Page {name}\n\n" + ("one two hyphen\n" if joined else "one two hy-\nphen\n")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Results of a run, PAGE XML alone: three images, a TIFF of three pages, an image in a folder."""
    scans = tmp_path / "scans"
    (scans / "box").mkdir(parents=True)
    picture = Image.new("L", (20, 10), 255)
    for name in ("1", "2", "10", "box/4"):
        picture.save(scans / f"{name}.png")
    picture.save(scans / "three.tif", save_all=True, append_images=[picture, picture])
    read(tmp_path, RunOptions(formats=("page",)))
    return tmp_path / "out"


def read(home: Path, options: RunOptions) -> tuple[Summary, list[str]]:
    workforce = Workforce({name: xml(name) for name in PAGES})
    with closing(OutputFolder(home / "out")) as folder:
        documents = discover([str(home / "scans")]).documents
        summary = run(documents, workforce, folder, options, NullListener(), SystemClock())
    return summary, workforce.taken


def converted(out: Path, formats: str, *, join: bool = False, combine: bool = False, language: str = "") -> Summary:
    lines = TextLines.JOIN if join else TextLines.KEEP
    options = RunOptions(formats=tuple(formats.split(",")), text_lines=lines, combine=combine, language=language)
    return convert(out, options, NullListener(), SystemClock())


def files(out: Path) -> dict[str, bytes]:
    found = (path for path in out.rglob("*") if path.is_file() and ".pero-worker" not in path.parts)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found if path.name != "report.jsonl"}


def test_a_format_is_made_once_and_the_report_tells_of_it(out: Path) -> None:
    before = files(out)
    summary = converted(out, "hocr,text")
    assert (summary.done, summary.failed, summary.finished_before) == (7, 0, 0)
    assert (out / "three_0002.txt").read_text("utf-8") == text("three_0002")
    made = files(out)
    assert made.keys() - before.keys() == {f"{name}{end}" for name in PAGES for end in (".hocr", ".txt")}
    assert before.items() <= made.items(), "what was there stays as it was"
    again = converted(out, "hocr,text")
    assert (again.done, again.finished_before) == (0, 7)
    assert files(out) == made
    assert all({"page", "hocr", "text"} <= record.outputs.keys() for record in read_report(out))


def test_a_run_goes_on_with_what_was_converted(out: Path) -> None:
    converted(out, "text")
    summary, taken = read(out.parent, RunOptions(formats=("page", "text")))
    assert (taken, summary.finished_before) == ([], 7)


def test_documents_are_made_of_their_pages(out: Path) -> None:
    summary = converted(out, "pdf,markdown")
    assert not summary.documents_failed
    with pikepdf.open(out / "three.pdf") as pdf:
        assert len(pdf.pages) == 3
    assert sorted(path.name for path in out.rglob("*.pdf")) == ["1.pdf", "10.pdf", "2.pdf", "4.pdf", "three.pdf"]
    assert "one two hyphen" in (out / "box/4.md").read_text("utf-8")
    made = (out / "three.pdf").stat().st_mtime_ns
    assert converted(out, "pdf").done == 0
    assert (out / "three.pdf").stat().st_mtime_ns == made


def test_a_language_is_told_and_kept_for_later(out: Path) -> None:
    def language(name: str) -> str:
        with pikepdf.open(out / f"{name}.pdf") as pdf:
            return str(pdf.Root.get("/Lang", ""))

    converted(out, "pdf,text", combine=True)
    assert {language("three"), language("all")} == {""}
    converted(out, "pdf", language="de", combine=True)
    assert {language("three"), language("all")} == {"de"}
    made = (out / "three.pdf").stat().st_mtime_ns
    read(out.parent, RunOptions(formats=("page", "pdf", "tei")))
    assert (out / "three.pdf").stat().st_mtime_ns == made, "nothing else was asked for"
    tei = etree.parse(out / "three.tei.xml")
    assert tei.xpath("string(//*[local-name()='language']/@ident)") == "de"
    read(out.parent, RunOptions(formats=("page", "pdf"), language="cs-CZ"))
    assert language("three") == "cs-CZ"


def test_what_is_nobodys_result_is_left_alone_and_named(out: Path) -> None:
    (out / "2.txt").write_text("mine")
    (out / "three.pdf").write_text("mine, too")
    summary = converted(out, "text,pdf")
    assert (summary.done, summary.failed) == (6, 1)
    assert "2.txt is there already and no result of ours" in summary.failures[0].error
    assert [failure[:2] for failure in summary.documents_failed] == [("three", "pdf")]
    assert ((out / "2.txt").read_text(), (out / "three.pdf").read_text()) == ("mine", "mine, too")
    assert next(r for r in read_report(out) if r.page == "2").status == "done", "the page is as done as before"


def test_lines_are_joined_and_kept_again(out: Path) -> None:
    assert converted(out, "text,page", join=True).done == 7
    assert (out / "1.txt").read_text("utf-8") == text("1", joined=True)
    assert converted(out, "text", join=True).finished_before == 7
    assert converted(out, "text").done == 7
    assert (out / "1.txt").read_text("utf-8") == text("1")


def test_a_run_joins_lines_of_pages_that_were_read_before(out: Path) -> None:
    options = RunOptions(formats=("text",), text_lines=TextLines.JOIN)
    summary, taken = read(out.parent, options)
    assert (taken, summary.done) == ([], 7)
    assert (out / "1.txt").read_text("utf-8") == text("1", joined=True)
    assert read(out.parent, options)[0].finished_before == 7


def test_one_text_and_one_pdf_in_the_order_of_pages(out: Path) -> None:
    assert not converted(out, "text,pdf", combine=True).documents_failed
    three = [text(f"three_000{number}") for number in (1, 2, 3)]
    assert (out / "three.txt").read_text("utf-8") == "\f".join(three)
    assert (out / "all.txt").read_text("utf-8") == "\f".join([*(text(name) for name in ("1", "2", "10")), *three])
    with pikepdf.open(out / "all.pdf") as pdf:
        assert len(pdf.pages) == 6
    assert not (out / "box/all.txt").exists(), "one document is not combined with itself"
    # They are ours: the same command rebuilds them, and the next run does not take them as input.
    (out / "all.txt").write_bytes(b"")
    assert not converted(out, "text,pdf", combine=True).documents_failed
    assert (out / "all.txt").stat().st_size


def test_a_page_that_failed_is_an_empty_one_in_its_document(out: Path) -> None:
    (out / "three_0002.page.xml").write_bytes(b"<torn")
    summary = converted(out, "text", combine=True)
    assert [failure.page for failure in summary.failures] == ["three_0002"]
    assert "PAGE XML is not there any more" in summary.failures[0].error
    assert (out / "three.txt").read_text("utf-8") == "\f".join([text("three_0001"), "", text("three_0003")])


def test_a_file_of_somebody_called_all_is_left_alone(out: Path) -> None:
    (out / "all.txt").write_text("mine")
    summary = converted(out, "text", combine=True)
    assert [failure[:2] for failure in summary.documents_failed] == [("all", "text")]
    assert (out / "all.txt").read_text() == "mine"


def test_a_run_combines_at_its_end(tmp_path: Path, out: Path) -> None:
    options = RunOptions(formats=("text",), combine=True)
    read(tmp_path, options)
    with closing(OutputFolder(out)) as folder:
        assert combine_results(folder, options) == []
    assert (out / "three.txt").is_file() and (out / "all.txt").is_file()


def test_without_results_or_beside_a_run_nothing_is_done(tmp_path: Path, out: Path) -> None:
    with pytest.raises(NoInputError, match="holds no results"):
        converted(tmp_path, "text")
    with closing(OutputFolder(out)), pytest.raises(UsageError, match="another run"):
        converted(out, "text")


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pero_worker", "convert", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_command(out: Path) -> None:
    (out / "1.txt").write_text("mine")
    done = command(out, "--formats", "text,alto", "--text-lines", "join", "--combine")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("6 pages converted in ")
    assert "  failed: 1: " in done.stdout
    assert (out / "all.txt").is_file()
    done = command(out, "-f", "alto", "--combine")
    assert done.returncode == 2
    assert "name text, pdf or both" in done.stderr
    done = command(out, "-f", "pdf", "--language", "German")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--language German: write it as de, cs-CZ" in done.stderr
