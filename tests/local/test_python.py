"""The package used from Python: the examples of docs/python.md, and what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

import pero_worker

DOCUMENT = Path(__file__).parents[2] / "docs/python.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL))
HERE = [title for title in SECTIONS if title != "A cluster"]


def examples(title: str) -> str:
    found = re.findall(r"^```python\n(.*?)^```", SECTIONS[title], re.MULTILINE | re.DOTALL)
    assert found
    return "\n".join(found)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scans/letter.png and a two-page scans/report.pdf."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "scans").mkdir()
    font = ImageFont.truetype("/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf", 32)
    pages = []
    for text in ("Dear reader", "Second page"):
        page = Image.new("L", (420, 120), 255)
        ImageDraw.Draw(page).text((40, 40), text, fill=0, font=font)
        pages.append(page)
    pages[0].save(folder / "scans/letter.png")
    pages[0].save(folder / "scans/report.pdf", save_all=True, append_images=pages[1:], resolution=300)
    return folder


@pytest.mark.parametrize("title", HERE)
def test_the_examples_run(title: str, home: Path) -> None:
    """Runs as a script without `if __name__ == "__main__"`, which worker processes must not run again."""
    script = home / f"{title.replace(' ', '_')}.py"
    start = "" if "import pero_worker\n" in examples(title) else "import pero_worker\n"
    script.write_text(f"{start}{examples(title)}\nprint('the end')\n", "utf-8")
    if title == "Many pages":
        (home / "scans/broken.png").write_bytes(b"\x89PNG broken")
    ran = subprocess.run([sys.executable, script], cwd=home, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("the end") == 1
    if title == "One page":
        assert "Dear reader" in ran.stdout
    if title == "Many pages":
        assert "3 pages done, 1 failed" in ran.stdout and "broken " in ran.stdout
        assert (home / "text/report_0002.txt").read_text("utf-8").strip() == "Second page"
        assert (home / "text/report.pdf").is_file() and (home / "more/letter.json").is_file()


def test_a_reader_reads_what_a_run_writes(home: Path, tmp_path: Path) -> None:
    pero_worker.ocr(home / "scans/letter.png", tmp_path, formats="page", pipeline="print-latin-small", jobs=1)
    with pero_worker.Reader("print-latin-small") as reader:
        read: list[pero_worker.Page] = []
        threads = [
            threading.Thread(target=lambda: read.append(reader.read(home / "scans/letter.png"))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = pero_worker.read_page_xml(tmp_path / "letter.page.xml")
    assert read == [written, written]


def test_threads_that_read_with_different_pipelines_do_not_take_them_from_each_other(home: Path) -> None:
    read: dict[str, list[str]] = {"print-latin-small": [], "print-latin": []}
    start = threading.Barrier(len(read))

    def look(pipeline: str) -> None:
        start.wait()
        for _ in range(2):
            page = pero_worker.read(home / "scans/letter.png", pipeline=pipeline)
            read[pipeline].append(" ".join(line.text or "" for line in page.lines()))

    threads = [threading.Thread(target=look, args=(pipeline,)) for pipeline in read]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == dict.fromkeys(read, ["Dear reader"] * 2)


def test_texts_are_joined_and_combined(home: Path, tmp_path: Path) -> None:
    for path in (home / "scans/letter.png", home / "scans/report.pdf"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pero_worker.ocr(
        [tmp_path],
        tmp_path / "out",
        formats="text",
        pipeline="print-latin-small",
        jobs=1,
        text_lines="join",
        combine=True,
    )
    assert (tmp_path / "out/all.txt").read_text("utf-8").count("Dear reader") == 2
    with pytest.raises(pero_worker.UsageError, match="text, pdf or both"):
        pero_worker.ocr([tmp_path], tmp_path / "other", formats="alto", combine=True)


def test_what_cannot_be_done_says_so(home: Path, tmp_path: Path) -> None:
    reader = pero_worker.Reader("print-latin-small")
    reader.close()
    with pytest.raises(pero_worker.UsageError, match="closed"):
        reader.read(home / "scans/letter.png")
    with pytest.raises(pero_worker.StageError, match="no pipeline"):
        pero_worker.read(home / "scans/letter.png", pipeline="print-elvish")
    with pytest.raises(pero_worker.UsageError, match="docx"):
        pero_worker.ocr(home / "scans", tmp_path, formats=["docx"])
    with pytest.raises(pero_worker.NoInputError):
        pero_worker.ocr(tmp_path / "nothing", tmp_path / "out")
