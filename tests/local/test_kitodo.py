"""A Kitodo.Production task: its command line is split at white space and run without a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from library import picture

Task = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """The folder of process 7 with its meta.xml, laid out as Kitodo does it."""
    folder = tmp_path / "metadata/7"
    (folder / "images/Example_media").mkdir(parents=True)
    for number in (1, 2):
        picture(str(number)).save(folder / f"images/Example_media/0000000{number}.tif")
    files = "".join(
        f'<mets:file ID="F{n}" MIMETYPE="image/tiff"><mets:FLocat xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'LOCTYPE="URL" xlink:href="images/Example_media/0000000{n}.tif"/></mets:file>'
        for n in (1, 2)
    )
    pages = "".join(
        f'<mets:div ID="P{n}" ORDER="{n}" TYPE="page"><mets:fptr FILEID="F{n}"/></mets:div>' for n in (1, 2)
    )
    (folder / "meta.xml").write_text(
        f'<mets:mets xmlns:mets="http://www.loc.gov/METS/"><mets:fileSec><mets:fileGrp USE="LOCAL">{files}</mets:fileGrp>'
        f'</mets:fileSec><mets:structMap TYPE="PHYSICAL"><mets:div TYPE="BoundBook">{pages}</mets:div></mets:structMap></mets:mets>'
    )
    return folder


@pytest.fixture
def task(tmp_path: Path) -> Task:
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    (pipeline / "config.ini").write_text("[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = ocr\nFAIL_NAME = bad*\n")

    def run(line: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pero_worker", *f"kitodo {line} -j 1 --pipeline {pipeline}".split()]
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_results_have_the_base_names_of_the_pictures(process: Path, task: Task, tmp_path: Path) -> None:
    before = files(process)
    done = task(
        f"{process} --proc-id 7 --task-id 42 --lang deu --script Fraktur --no-validate --img-subdir images/Example_media "
        "--ocr-subdir ocr/Example_alto --text-subdir ocr/Example_txt"
    )
    assert done.stderr == ""
    assert done.stdout == "2 pages read (process 7, task 42)\n"
    names = ("ocr/Example_alto/00000001.xml", "ocr/Example_alto/00000002.xml")
    assert files(process) - before == {*names, "ocr/Example_txt/00000001.txt", "ocr/Example_txt/00000002.txt"}
    assert "00000001.tif" in (process / names[0]).read_text()
    assert not list((tmp_path / "state").rglob("*.xml"))


def test_a_page_that_fails_leaves_the_task_open_and_the_folders_as_they_were(process: Path, task: Task) -> None:
    picture("bad").save(process / "images/Example_media/bad.tif")
    before = files(process)
    done = task(f"{process} --img-subdir images/Example_media", expect=3)
    assert "bad" in done.stderr and "nothing was written" in done.stderr
    assert files(process) == before
    (process / "images/Example_media/bad.tif").unlink()
    assert task(f"{process} --img-subdir images/Example_media").stderr == ""


def test_results_go_into_the_mets(process: Path, task: Task) -> None:
    for _ in range(2):
        done = task(f"{process}/meta.xml --img-grp LOCAL --ocr-grp FULLTEXT --url-prefix https://x.example/7 --pages 2")
        assert done.stderr == ""
    text = (process / "meta.xml").read_text()
    assert text.count('xlink:href="https://x.example/7/FULLTEXT/FULLTEXT_P2.xml"') == 1
    assert "FULLTEXT_P1" not in text
    assert (process / "FULLTEXT/FULLTEXT_P2.xml").is_file()


def test_mistakes_are_named(process: Path, task: Task, tmp_path: Path) -> None:
    cases = [
        ("(processpath)", 4, "variable"),
        (f"{process} --img-subdir ../7/images", 2, ".."),
        (f"{process} --img-subdir images/Example_media --ocr-subdir /tmp/ocr", 2, "below"),
        (f"{process} --img-subdir images", 4, "no pictures"),
        (f"{process} --img-subdir images/Example_media --async", 2, "--async"),
        (f"{process} --img-subdir images/Example_media --alto 3", 2, "--alto"),
    ]
    for line, status, reason in cases:
        assert reason in task(line, expect=status).stderr
    picture("1").save(process / "images/Example_media/00000001.png")
    assert "same name" in task(f"{process} --img-subdir images/Example_media", expect=2).stderr
    (process / "images/Example_media/00000001.png").unlink()
    (process / "ocr").symlink_to(tmp_path)
    assert "cannot write" in task(f"{process} --img-subdir images/Example_media", expect=7).stderr
