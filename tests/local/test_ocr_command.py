"""`pero-worker ocr` as users run it: processes, signals, files."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nasty import draw_text_picture
from PIL import Image

COMMAND = [sys.executable, "-m", "pero_worker", "ocr"]
KILLER = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nKILL_NAME = killer*\nFAIL_NAME = bad*\nHANG_NAME = slow*\n"
BROKEN_MODEL = """
[PAGE_PARSER]
RUN_LINE_CROPPER = yes
RUN_OCR = yes
[LINE_CROPPER]
INTERP = 2
LINE_SCALE = 1
LINE_HEIGHT = 40
[OCR]
OCR_JSON = missing.json
"""


def ocr(*arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return done


def report(folder: Path) -> dict[str, dict]:  # type: ignore[type-arg]
    lines = (folder / "report.jsonl").read_text().splitlines()
    return {record["page"]: record for record in map(json.loads, lines)}


def files(folder: Path) -> set[str]:
    return {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and ".pero-worker" not in p.parts
    }


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    return draw_text_picture()


@pytest.fixture
def scans(tmp_path: Path, picture: Image.Image) -> Path:
    """Two folders with a page1.jpg each, a two-page TIFF, a PDF, a broken file, and one of another type."""
    folder = tmp_path / "scans"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        picture.save(folder / name / "page1.jpg", dpi=(150, 150))
    picture.save(folder / "both.tif", save_all=True, append_images=[picture.rotate(1, fillcolor="white")])
    picture.convert("L").save(folder / "book.pdf", resolution=150)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (folder / "notes.md").write_text("not an image")
    return folder


@pytest.fixture
def dummy_pipeline(tmp_path: Path) -> Path:
    """A stage that the page's name can make crash, fail or hang, followed by RapidOCR."""
    folder = tmp_path / "pipeline"
    for stage, config in (("trouble", KILLER), ("ocr", "[WORKER]\nENGINE = rapidocr\n")):
        (folder / stage).mkdir(parents=True)
        (folder / stage / "config.ini").write_text(config)
    (folder / "pipeline.toml").write_text('description = "for tests"\nstages = ["trouble", "ocr"]\n')
    return folder


def test_scans_become_text_in_every_format(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = ocr(scans, "-o", out, "--pipeline", "rapidocr", "--formats", "all", expect=3)
    pages = {"a/page1", "b/page1", "both_0001", "both_0002", "book"}
    suffixes = (".page.xml", ".alto.xml", ".alto2.xml", ".txt", ".hocr", ".json")
    documents = ("a/page1", "b/page1", "both", "book")
    pdfs = {name + suffix for name in documents for suffix in (".pdf", ".tei.xml", ".md")}
    assert files(out) == {p + s for p in pages for s in suffixes} | pdfs | {"report.jsonl"}
    records = report(out)
    assert set(records) == pages | {"broken"}
    for page in pages:
        record = records[page]
        assert record["status"] == "done"
        assert record["lines"] >= 10
        assert 0 < record["confidence_worst"] <= record["confidence_mean"] <= 1
        assert record["seconds"]["total"] > 0
        assert record["engine"].startswith("rapidocr")
        assert set(record["outputs"]) == {*("page", "alto", "alto2", "text", "hocr", "json", "pdf", "tei", "markdown")}
        assert all((out / path).is_file() for path in record["outputs"].values())
    assert records["broken"]["status"] == "failed"
    assert records["broken"]["error_class"] == "page"
    assert "5 pages done" in done.stdout
    assert "1 failed" in done.stdout
    assert "1 files in the folders are not images" in done.stdout


def test_running_again_does_only_what_is_missing_or_changed(scans: Path, tmp_path: Path, picture: Image.Image) -> None:
    out = tmp_path / "out"
    (scans / "broken.jpg").unlink()
    command = (scans, "-o", out, "--pipeline", "rapidocr", "--formats", "text,pdf")
    ocr(*command)
    before = {name: (out / name).stat().st_mtime_ns for name in files(out) if name != "report.jsonl"}
    again = ocr(*command)
    assert "0 pages done" in again.stdout
    assert "5 done before" in again.stdout
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    (out / "a/page1.txt").unlink()
    picture.save(scans / "b/page1.jpg", quality=60)
    third = ocr(*command)
    assert "2 pages done" in third.stdout
    changed = {name for name in before if (out / name).stat().st_mtime_ns != before[name]}
    assert changed == {"a/page1.txt", "a/page1.pdf", "b/page1.txt", "b/page1.pdf"}
    more = ocr(*command[:-1], "text,pdf,alto")
    assert "5 pages done" in more.stdout


def test_a_page_that_kills_its_worker_is_set_aside_and_the_others_are_done(
    dummy_pipeline: Path, picture: Image.Image, tmp_path: Path
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for name in ("killer", "bad", "good1", "good2"):
        picture.save(scans / f"{name}.jpg")
    done = ocr(scans, "-o", out, "--pipeline", dummy_pipeline, "--jobs", "2", "--formats", "text", expect=3)
    records = report(out)
    assert {name: record["status"] for name, record in records.items()} == {
        "killer": "failed",
        "bad": "failed",
        "good1": "done",
        "good2": "done",
    }
    assert records["killer"]["attempts"] == 3
    assert "died" in records["killer"]["error"]
    assert records["bad"]["attempts"] == 3
    assert "killer" in done.stdout
    assert files(out) == {"good1.txt", "good2.txt", "report.jsonl"}


@pytest.fixture
def hanging(dummy_pipeline: Path, picture: Image.Image, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has finished `quick` and hangs in `slow`."""
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    picture.save(scans / "quick.jpg")
    picture.save(scans / "slow.jpg")
    command = [*COMMAND, str(scans), "-o", str(out), "--pipeline", str(dummy_pipeline), "--jobs", "1", "-f", "text"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((out / "quick.txt").is_file, process)
    yield process
    process.kill()
    process.communicate()


def wait_for(condition, process: subprocess.Popen[str]) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in text.split() if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_and_the_next_one_goes_on(
    hanging: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    workers = children(hanging.pid)
    assert len(workers) == 1
    hanging.send_signal(number)
    stdout, stderr = hanging.communicate(timeout=10)
    assert hanging.returncode == 130
    assert "interrupted" in stdout
    assert "Traceback" not in stderr
    assert files(tmp_path / "out") == {"quick.txt", "report.jsonl"}
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    again = ocr(tmp_path / "scans/quick.jpg", "-o", tmp_path / "out", "-p", tmp_path / "pipeline", "-f", "text")
    assert "1 done before" in again.stdout


def test_a_killed_worker_loses_nothing(hanging: subprocess.Popen[str], tmp_path: Path) -> None:
    """The page that the killed worker had in hand is tried again; after three deaths it is listed as failed."""
    out = tmp_path / "out"
    log = out / ".pero-worker/workers.log"
    for attempt in (1, 2, 3):
        wait_for(lambda attempt=attempt: log.read_text().count("hanging on slow.jpg") == attempt, hanging)
        (worker,) = children(hanging.pid)
        os.kill(worker, signal.SIGKILL)
    stdout, _ = hanging.communicate(timeout=120)
    assert hanging.returncode == 3, stdout
    assert report(out)["slow"]["attempts"] == 3
    assert report(out)["quick"]["status"] == "done"


def test_a_page_that_takes_too_long_is_given_up(tmp_path: Path, picture: Image.Image) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.ini").write_text(KILLER + "LINE = read\n")
    for name in ("quick", "slow"):
        picture.save(scans / f"{name}.jpg")
    ocr(scans, "-o", out, "--pipeline", tmp_path / "model", "--jobs", "1", "--time-limit", "0.5", expect=3)
    records = report(out)
    assert records["quick"]["status"] == "done"
    assert (records["slow"]["attempts"], records["slow"]["status"]) == (3, "failed")
    assert "longer than 0.5 s" in records["slow"]["error"]


def test_killing_the_parent_takes_the_workers_along(hanging: subprocess.Popen[str], tmp_path: Path) -> None:
    workers = children(hanging.pid)
    hanging.kill()
    hanging.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert "quick.txt" in files(tmp_path / "out")


def test_mistakes_get_one_line_and_their_exit_status(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.ini").write_text(BROKEN_MODEL)
    cases = [
        ([tmp_path / "nowhere.png", "-o", tmp_path / "out"], 4, "nowhere.png"),
        ([tmp_path / "empty", "-o", tmp_path / "out"], 4, "empty"),
        ([tmp_path / "a.png", "-o", tmp_path / "out", "--formats", "docx"], 2, "docx"),
        ([tmp_path / "a.png", "-o", tmp_path / "out", "--pipeline", "no-such"], 5, "print-latin"),
        ([tmp_path / "a.png", "-o", tmp_path / "out", "--pipeline", tmp_path / "model"], 5, "missing.json"),
        ([tmp_path / "a.png", "-o", tmp_path / "out", "--device", "tpu"], 2, "tpu"),
        ([tmp_path / "a.png", "-o", tmp_path / "a.png"], 7, "cannot write"),
    ]
    for arguments, code, text in cases:
        done = ocr(*arguments, expect=code)
        assert text in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("room", [0, 1500])
def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(tmp_path: Path, room: int) -> None:
    """The disk is simulated by a quota: no file may grow beyond `room` bytes."""
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    (pipeline / "config.ini").write_text("[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = ocr\n")
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(4):
        Image.new("L", (30, 30), 255).save(scans / f"{number}.png")
    arguments = [scans, "-o", tmp_path / "out", "--pipeline", pipeline, "--jobs", "1"]
    full = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY)),
    )
    assert full.returncode == 7, full.stderr
    assert "cannot write" in full.stderr and "Traceback" not in full.stderr
    ocr(*arguments)
    assert len(report(tmp_path / "out")) == 4
    assert len(files(tmp_path / "out")) == 4 * 3 + 1


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, dummy_pipeline: Path, picture: Image.Image) -> None:
    """Truly unreadable: if the tests run as root, the command gives up root's right to read everything."""
    closed = tmp_path / "d" / "closed"
    closed.mkdir(parents=True)
    for place in (closed / "a.png", tmp_path / "other.png"):
        picture.save(place)
    closed.chmod(0o000)
    bounded = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*bounded, *COMMAND, "-o", str(tmp_path / "out"), "-p", str(dummy_pipeline), "-f", "text"]
    try:
        link = tmp_path / "link.png"
        link.symlink_to(closed / "a.png")
        for inputs, status in (([tmp_path / "d", tmp_path / "other.png"], 3), ([closed / "a.png"], 4), ([link], 4)):
            done = subprocess.run([*command, *map(str, inputs)], capture_output=True, text=True, check=False)
            said = done.stdout + done.stderr
            assert done.returncode == status and "Permission denied" in said, said
            assert str(inputs[0]) in said
            assert "Traceback" not in said
    finally:
        closed.chmod(0o755)
    assert files(tmp_path / "out") >= {"other.txt", "report.jsonl"}


def test_closed_streams_are_no_obstacle(tmp_path: Path, picture: Image.Image) -> None:
    """Some schedulers start programs this way."""
    picture.save(tmp_path / "a.png")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.ini").write_text("[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nLINE = ocr\n")
    arguments = [tmp_path / "a.png", "-o", tmp_path / "out", "-p", tmp_path / "model", "-f", "text,pdf"]
    command = shlex.join(map(str, [*COMMAND, *arguments]))
    done = subprocess.run(["sh", "-c", f"{command} <&- >&- 2>&-"], timeout=300, check=False)
    assert done.returncode == 0
    assert files(tmp_path / "out") == {"a.txt", "a.pdf", "report.jsonl"}


def test_a_page_without_text_has_a_file_with_what_was_asked_for(tmp_path: Path) -> None:
    Image.new("L", (300, 200), 255).save(tmp_path / "a.png")
    arguments = [tmp_path / "a.png", "-o", tmp_path / "out", "-p", "print-latin-small", "-f", "text"]
    ocr(*arguments, "--blank-text", "[blank page]")
    assert (tmp_path / "out/a.txt").read_text() == "[blank page]\n"
