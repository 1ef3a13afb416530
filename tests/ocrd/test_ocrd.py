"""OCR-D's own validators on what we make; core lies in an environment of its own (`make build/ocrd-venv`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nasty import draw_text_picture

from pero_worker.formats import pagexml

HOME = Path(__file__).parents[2]
CORE = HOME / "build/ocrd-venv/bin"
METS = """<?xml version="1.0" encoding="UTF-8"?>
<mets:mets xmlns:mets="http://www.loc.gov/METS/" xmlns:mods="http://www.loc.gov/mods/v3" xmlns:xlink="http://www.w3.org/1999/xlink">
<mets:metsHdr CREATEDATE="2026-01-02T03:04:05"/>
<mets:dmdSec ID="DMDLOG_0001"><mets:mdWrap MDTYPE="MODS"><mets:xmlData><mods:mods><mods:identifier type="purl">urn:example:1</mods:identifier></mods:mods></mets:xmlData></mets:mdWrap></mets:dmdSec>
<mets:amdSec ID="AMD"/>
<mets:fileSec><mets:fileGrp USE="OCR-D-IMG">
<mets:file ID="IMG_1" MIMETYPE="image/jpeg"><mets:FLocat LOCTYPE="OTHER" OTHERLOCTYPE="FILE" xlink:href="OCR-D-IMG/1.jpg"/></mets:file>
</mets:fileGrp><mets:fileGrp USE="OCR-D-CROP">
<mets:file ID="CROP_1" MIMETYPE="application/vnd.prima.page+xml"><mets:FLocat LOCTYPE="OTHER" OTHERLOCTYPE="FILE" xlink:href="OCR-D-CROP/1.xml"/></mets:file>
</mets:fileGrp></mets:fileSec>
<mets:structMap TYPE="PHYSICAL"><mets:div TYPE="physSequence" ID="PHYS_0000">
<mets:div TYPE="page" ID="PHYS_0001"><mets:fptr FILEID="IMG_1"/><mets:fptr FILEID="CROP_1"/></mets:div>
</mets:div></mets:structMap></mets:mets>
"""
CROPPED = f"""<PcGts xmlns="{pagexml.NAMESPACE}" pcGtsId="CROP_1"><Metadata><Creator>test</Creator><Created>2026-01-01T00:00:00</Created>
<LastChange>2026-01-01T00:00:00</LastChange></Metadata><Page imageFilename="OCR-D-IMG/1.jpg" imageWidth="1000" imageHeight="450" orientation="-2">
<Border><Coords points="60,20 950,30 950,440 60,430"/></Border>
<TextRegion id="old"><Coords points="100,100 200,100 200,200 100,200"/></TextRegion>
<ImageRegion id="r000"><Coords points="70,390 90,390 90,410 70,410"/></ImageRegion></Page></PcGts>"""
RUN = """
import json, sys
from ocrd.cli import cli
for command in json.loads(sys.argv[1]):
    print(">>>", *command, flush=True)
    try:
        cli(command, standalone_mode=False)
    except SystemExit as end:
        assert not end.code, end.code
"""


def core(workspace: Path, *commands: list[str]) -> str:
    """Runs commands of `ocrd` in one process: to start it takes longer than what it does."""
    environment = {**os.environ, "PATH": f"{CORE}:{os.environ['PATH']}", "PYTHONPATH": str(HOME / "src")}
    done = subprocess.run(
        [CORE / "python", "-c", RUN, json.dumps(commands)],
        cwd=workspace, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def pero_worker(*arguments: object, expect: int = 0) -> str:
    command = [sys.executable, "-m", "pero_worker", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    for name in ("OCR-D-IMG", "OCR-D-CROP"):
        (folder / name).mkdir(parents=True)
    draw_text_picture().crop((100, 40, 1100, 490)).save(folder / "OCR-D-IMG/1.jpg", dpi=(300, 300))
    (folder / "OCR-D-CROP/1.xml").write_text(CROPPED)
    (folder / "mets.xml").write_text(METS)
    return folder


def test_results_are_entered_and_packed_without_an_error(workspace: Path, tmp_path: Path) -> None:
    mets, out, archive = workspace / "mets.xml", tmp_path / "out", tmp_path / "workspace.ocrd.zip"
    pero_worker("ocr", mets, "-o", out, "-p", "rapidocr", "--formats", "page")
    assert "1 page entered" in pero_worker("mets", out, mets)
    entered = mets.read_bytes()
    pero_worker("mets", out, mets, expect=2)
    pero_worker("mets", out, mets, "--overwrite")
    assert mets.read_bytes() == entered
    pero_worker("ocrd-zip", mets, archive)
    said = core(
        workspace,
        ["workspace", "validate", "--page-textequiv-consistency", "strict"],
        ["zip", "validate", str(archive)],
    )
    assert "error" not in said.lower()
    assert '<report valid="true">' in said and "OK" in said
    (found,) = (workspace / "OCR-D-OCR-PERO").glob("*.xml")
    assert "library" in found.read_text()
    assert (workspace / "OCR-D-OCR-PERO-ALTO").is_dir()


def test_the_processor_reads_a_cropped_and_turned_page_in_the_frame_of_the_whole(workspace: Path) -> None:
    tool = str(HOME / "src/pero_worker/ocrd/ocrd-tool.json")
    said = core(
        workspace,
        ["ocrd-tool", tool, "validate"],
        ["validate", "tool-json", tool],
        ["process", "pero-worker -I OCR-D-CROP -O OCR-D-OCR-PERO -P pipeline rapidocr"],
        ["workspace", "validate", "--page-textequiv-consistency", "strict"],
    )
    assert said.count('<report valid="true">') == 2
    (path,) = (workspace / "OCR-D-OCR-PERO").glob("*.xml")
    page = pagexml.read(path.read_bytes())
    assert (page.width, page.height) == (1000, 450)
    text = path.read_text()
    assert "library" in text and 'id="old"' not in text and "ImageRegion" in text
    first = next(line for line in page.lines() if line.text)
    # Upright it begins at 40, 20; it was read turned by two degrees.
    assert 30 <= min(x for x, _ in first.polygon) <= 80
    assert 0 <= min(y for _, y in first.polygon) <= 60
