"""The demo's own scripts: drawing pages, taking scans out of a source distribution, reporting the outcome."""

from __future__ import annotations

import importlib
import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

DEMO = Path(__file__).parents[2] / "demo"
Load = Callable[[str], Any]
"""Imports a script of the demo."""
SIZE = (900, 800)
TEXT = "Heading\n\n" + "many short words of ink on a sheet of paper " * 6 + "\n\nA last paragraph."


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(DEMO))

    def one(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return one


def font(size: int = 24) -> ImageFont.FreeTypeFont:
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def sdist(path: Path, members: dict[str, bytes | None]) -> Path:
    """A .tar.gz with these members below its top folder; None makes a link to /etc/passwd."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"{path.name.removesuffix('.tar.gz')}/tests/resources/{name}")
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(data or b"")
            archive.addfile(info, io.BytesIO(data or b""))
    return path


def test_typeset_keeps_every_word_in_order_and_within_the_margins(load: Load) -> None:
    draw = load("draw")
    page, lines = draw.typeset(TEXT, font(), SIZE)
    assert " ".join(lines).split() == TEXT.split()
    assert len(lines) > 3
    ink = np.asarray(page) < 128
    columns = np.flatnonzero(ink.any(axis=0))
    assert columns[0] >= draw.MARGIN - 2
    assert columns[-1] <= SIZE[0] - draw.MARGIN + 2


def test_full_lines_end_at_the_right_margin(load: Load) -> None:
    draw = load("draw")
    page, _ = draw.typeset("Heading\n\n" + "ink " * 150, font(), SIZE)
    right = np.flatnonzero((np.asarray(page) < 128).any(axis=0))[-1]
    assert right == pytest.approx(SIZE[0] - draw.MARGIN, abs=3)


def test_text_too_long_for_the_page_is_refused(load: Load) -> None:
    with pytest.raises(ValueError, match="smaller font size"):
        load("draw").typeset("Heading\n\n" + "ink " * 1500, font(), SIZE)


def test_scan_is_reproducible_and_uneven_but_legible(load: Load) -> None:
    draw = load("draw")
    page, _ = draw.typeset(TEXT, font(), SIZE)
    scan = draw.scanned(page, 0.01, 7)
    assert scan.size == SIZE
    assert scan.mode == "RGB"
    assert scan.tobytes() == draw.scanned(page, 0.01, 7).tobytes()
    assert scan.tobytes() != draw.scanned(page, 0.01, 8).tobytes()
    grey = np.asarray(scan.convert("L"), np.float32)
    assert grey[:, :20].mean() < grey[:, 400:420].mean() - 40
    middle = grey[100:700, 200:700]
    assert np.percentile(middle, 90) - middle.min() > 100


def test_skew_lowers_the_right_side(load: Load) -> None:
    draw = load("draw")
    page = Image.new("L", SIZE, 255)
    page.paste(0, (0, 400, SIZE[0], 410))
    grey = np.asarray(draw.scanned(page, 0.02, 1).convert("L"), np.float32)
    left, right = (int(grey[300:500, x : x + 20].mean(axis=1).argmin()) for x in (200, 840))
    assert 8 <= right - left <= 16


@pytest.mark.parametrize("name", ["fraktur", "czech"])
def test_demo_texts_suit_their_page(load: Load, name: str) -> None:
    text = (DEMO / "text" / f"{name}.txt").read_text(encoding="utf-8")
    assert {"fraktur": "ſ", "czech": "ř"}[name] in text
    assert name in {sheet.name for sheet in load("draw").SHEETS}
    # A long s never ends a word.
    assert not any(word.strip(".,;:!?").endswith("ſ") for word in text.split())


def test_scans_are_unpacked_with_their_sources(load: Load, tmp_path: Path) -> None:
    scans = load("scans")
    archive = sdist(tmp_path / "pack-1.tar.gz", {scan.name: scan.name.encode() for scan in scans.SCANS})
    written = scans.unpack(archive, tmp_path / "demo" / "scans")
    assert sorted(p.name for p in (tmp_path / "demo" / "scans").iterdir()) == sorted(s.name for s in scans.SCANS)
    assert [p.read_bytes() for p in written] == [p.name.encode() for p in written]
    sources = (tmp_path / "demo" / "SOURCES.txt").read_text(encoding="utf-8")
    assert all(scan.name in sources and scan.rights in sources for scan in scans.SCANS)


@pytest.mark.parametrize(
    ("data", "message"),
    [({}, "has no linn.png"), ({"linn.png": None}, "regular file"), ({"linn.png": b"0" * 4_000_001}, "regular file")],
)
def test_scans_that_are_not_plain_files_are_refused(
    load: Load, tmp_path: Path, data: dict[str, bytes | None], message: str
) -> None:
    scans = load("scans")
    with pytest.raises(ValueError, match=message):
        scans.unpack(sdist(tmp_path / "pack-1.tar.gz", data), tmp_path / "scans", scans.SCANS[:1])
    assert not list((tmp_path / "scans").iterdir())


def test_scans_stay_in_their_folder(load: Load, tmp_path: Path) -> None:
    scans = load("scans")
    archive = sdist(tmp_path / "pack-1.tar.gz", {"../../../escape.png": b"x"})
    (path,) = scans.unpack(archive, tmp_path / "a" / "scans", (scans.Scan("../../../escape.png", "", ""),))
    assert path == tmp_path / "a" / "scans" / "escape.png"


def test_pinned_distribution_has_a_digest() -> None:
    pins = [
        line
        for line in (DEMO / "requirements-scans.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert len(pins) == 1
    requirement, digest = pins[0].split(" --hash=sha256:")
    assert requirement == "ocrmypdf==17.13.0"
    assert len(bytes.fromhex(digest)) == 32


def record(page: str, **changes: object) -> dict[str, object]:
    outputs = {"page": f"{page}.xml", "alto": f"{page}.alto.xml", "text": f"{page}.txt", "pdf": "all.pdf"}
    done = {"page": page, "status": "done", "lines": 61, "confidence_mean": 0.98765, "error": ""}
    return {**done, "seconds": {"total": 3.25}, "outputs": outputs, **changes}


@pytest.fixture
def show(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(*records: dict[str, object]) -> None:
        (tmp_path / "report.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["show.py", str(tmp_path)])
        load("show").main()

    return run


def test_outcome_has_a_line_a_page_and_says_where_every_format_lies(
    show: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "czech.txt").write_text("First line\nSecond\n", encoding="utf-8")
    show(record("linn"), record("czech", lines=25))
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["linn", "61", "0.988", "3.2"] in said
    assert ["czech", "25", "0.988", "3.2"] in said
    assert ["PAGE", "XML", str(tmp_path / "czech.xml"), "and", "1", "more"] in said
    assert ["ALTO", "XML", str(tmp_path / "czech.alto.xml"), "and", "1", "more"] in said
    assert ["searchable", "PDF", str(tmp_path / "all.pdf")] in said
    assert ["First", "line"] in said


def test_outcome_with_a_page_that_failed_is_a_failure(
    show: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="not all was written for torn"):
        show(record("torn", status="failed", lines=0, confidence_mean=None, seconds={}, outputs={}, error="no image"))
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["torn", "0", "-", "0.0", "failed:", "no", "image"] in said
