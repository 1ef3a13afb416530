"""Formats from other packages: found by entry point, created, and refused if they cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from test_run import Listener, Workforce

from pero_worker.clock import SystemClock
from pero_worker.errors import UsageError
from pero_worker.formats import formats_help, installed_formats, parse_formats
from pero_worker.inputs.discover import discover
from pero_worker.jobs.listener import Summary
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.run import run

NUMBERS = """
from pero_worker.errors import PageError
from pero_worker.formats import DocumentFormat, PageFormat

def write(document, stream):
    if document.name == "odd":
        raise PageError("odd cannot be counted")
    sizes = ["-" if page is None else str(page.width) for page in document.pages]
    stream.write(" ".join([document.name, document.source.name, *sizes, *document.page_names]).encode())

NUMBERS = DocumentFormat(name="numbers", suffix=".numbers", write=write)
WIDTH = PageFormat(name="width", suffix=".width", write=lambda page, **_: str(page.width).encode())
"""
ENTRIES = "numbers = some_formats:NUMBERS\nwidth = some_formats:WIDTH\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Installs a package with this code and these entry points."""

    def package(code: str, entries: str) -> None:
        info = tmp_path / "site" / "some_formats-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-formats\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pero_worker.formats]\n{entries}")
        (info.parent / "some_formats.py").write_text(code)
        monkeypatch.syspath_prepend(info.parent)
        installed_formats.cache_clear()

    yield package
    sys.modules.pop("some_formats", None)
    installed_formats.cache_clear()


def go(scans: Path, formats: str, workforce: Workforce) -> Summary:
    options = RunOptions(formats=parse_formats(formats))
    with closing(OutputFolder(scans.parent / "out")) as folder:
        return run(discover([str(scans)]).documents, workforce, folder, options, Listener(), SystemClock())


def test_formats_of_another_package_are_made_of_pages_and_documents(
    install: Callable[[str, str], None], tmp_path: Path
) -> None:
    install(NUMBERS, ENTRIES)
    scans = tmp_path / "scans"
    scans.mkdir()
    picture = Image.new("L", (20, 10))
    picture.save(scans / "two.tif", save_all=True, append_images=[picture])
    picture.save(scans / "odd.png")
    summary = go(scans, "numbers,width", Workforce({"two_0002": b"<no"}))
    assert (summary.done, summary.failed) == (2, 1)
    assert summary.documents_failed == [("odd", "numbers", "odd cannot be counted")]
    out = tmp_path / "out"
    assert (out / "two.numbers").read_text() == "two two.tif 20 - two_0001 two_0002"
    assert (out / "two_0001.width").read_text() == "20"
    assert not (out / "odd.numbers").exists() and not list(out.glob("*.xml"))
    again = go(scans, "numbers,width", Workforce({}))
    assert (again.done, again.finished_before) == (1, 2)
    assert (out / "two.numbers").read_text() == "two two.tif 20 20 two_0001 two_0002"


def test_help_and_all_name_the_formats_of_other_packages(install: Callable[[str, str], None]) -> None:
    install(NUMBERS, ENTRIES)
    assert formats_help() == "page, alto, alto2, text, hocr, json, pdf, tei, markdown, numbers, width; or all"
    assert formats_help(page_only=True).startswith("page, alto, alto2, text, hocr, json, ")
    assert parse_formats("all")[-2:] == ("numbers", "width")


@pytest.mark.parametrize(
    ("code", "entries", "reason"),
    [
        ("import nothing_of_this_name", "x = some_formats:X", "ModuleNotFoundError"),
        ("X = 'text'", "x = some_formats:X", "no PageFormat or DocumentFormat"),
        (NUMBERS, "x = some_formats:WIDTH", "named 'x'"),
        (NUMBERS.replace(".width", "t"), "width = some_formats:WIDTH", "same names"),
        (NUMBERS.replace(".width", ".old.txt"), "width = some_formats:WIDTH", "same names"),
    ],
)
def test_a_format_that_cannot_be_used_is_refused_by_name(
    install: Callable[[str, str], None], code: str, entries: str, reason: str
) -> None:
    install(code, entries)
    with pytest.raises(UsageError, match=reason):
        parse_formats("text")
    assert "or all" in formats_help()
