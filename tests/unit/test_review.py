"""What to look at first: the worst pages and lines, and the page that shows them."""

from __future__ import annotations

import base64
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from lxml import html
from PIL import Image

from pero_worker.cli.review import review_command
from pero_worker.errors import OutputError, UsageError
from pero_worker.formats import pagexml
from pero_worker.formats.reviewpage import picture_of
from pero_worker.jobs.review import review
from pero_worker.page import Line, Page, Region, Word


def line(number: int, text: str, confidence: float, words: tuple[Word, ...] = ()) -> Line:
    y = 40.0 + 40 * number
    outline = ((20, y - 25), (280, y - 25), (280, y + 8), (20, y + 8))
    return Line(
        id=f"l{number}",
        baseline=((20, y), (280, y)),
        polygon=outline,
        heights=(25, 8),
        text=text,
        confidence=confidence,
        words=words,
    )


def add(out: Path, name: str, *lines: Line, status: str = "done", source: Path | None = None) -> Page:
    page = Page(
        name=f"{name}.png",
        width=300,
        height=200,
        regions=(Region(id="r", polygon=((0, 0), (300, 0), (300, 200), (0, 200)), lines=lines),),
    )
    (out / f"{name}.page.xml").write_bytes(
        pagexml.write(page, created=datetime(2026, 1, 1, tzinfo=UTC), creator="test")
    )
    sure = [one.confidence or 0.0 for one in lines]
    record = {
        "page": name, "source": str(source or out / f"{name}.png"), "page_index": 0, "status": status,
        "fingerprint": {"size": 1, "modified_ns": 1, "pipeline": "p", "version": "1", "dpi": 300},
        "finished": "2026-01-01T00:00:00+00:00", "lines": len(lines), "confidence_mean": page.confidence(),
        "confidence_worst": min(sure, default=None), "outputs": {"page": f"{name}.page.xml"},
    }  # fmt: skip
    with (out / "report.jsonl").open("a") as stream:
        stream.write(json.dumps(record) + "\n")
    return page


@pytest.fixture
def out(tmp_path: Path) -> Path:
    image = np.full((200, 300, 3), 240, np.uint8)
    image[15:48, 20:280] = (200, 30, 30)  # where line 0 stands
    Image.fromarray(image).save(tmp_path / "bad.png")
    word = Word(text="b<b>d", polygon=((20, 15), (90, 15), (90, 48), (20, 48)), confidence=0.2)
    sure = Word(text="fine", polygon=((100, 15), (280, 15), (280, 48), (100, 48)), confidence=0.99)
    add(tmp_path, "bad", line(0, "b<b>d fine", 0.3, (word, sure)), line(1, "middling", 0.7))
    add(tmp_path, "good", line(0, "very sure", 0.99), source=tmp_path / "gone.png")
    add(tmp_path, "failed", line(0, "never", 0.01), status="failed")
    return tmp_path


def test_the_worst_come_first(out: Path) -> None:
    found = review(out, pages=5, lines=5)
    assert [record.page for record in found.pages] == ["bad", "good"] and found.done == 2
    assert [one.line.text for one in found.lines] == ["b<b>d fine", "middling", "very sure"]
    fewer = review(out, pages=1, lines=2)
    assert [record.page for record in fewer.pages] == ["bad"]
    assert [one.line.text for one in fewer.lines] == ["b<b>d fine", "middling"]


def test_pages_without_usable_results_are_named(out: Path) -> None:
    (out / "bad.page.xml").write_text("<broken")
    (out / "good.page.xml").unlink()
    assert review(out, pages=5, lines=5).unreadable == ["bad", "good"]


def test_a_report_cannot_name_files_elsewhere(out: Path) -> None:
    text = (out / "report.jsonl").read_text()
    (out / "report.jsonl").write_text(text.replace('"bad.page.xml"', '"../bad.page.xml"'))
    assert review(out, pages=5, lines=5).unreadable == ["bad"]


def test_the_page_shows_pictures_beside_texts_and_fetches_nothing(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    review_command(out, None, lines=10, pages=10)
    assert re.search(r"30 %  bad: b<b>d fine", capsys.readouterr().out)
    text = (out / "review.html").read_text("utf-8")
    assert "<b>d" not in text and not re.search(r"(?:src|href)=['\"](?!data:)", text) and "<script" not in text
    tree = html.fromstring(text)
    first, second, third = tree.findall(".//article")
    assert first.find("p").text_content() == "b<b>d fine" and [m.text for m in first.iter("mark")] == ["b<b>d"]
    assert second.find("img") is not None and third.find("img") is None
    data = base64.b64decode(first.find("img").get("src").partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].astype(int) - (200, 30, 30)).max() < 12
    review_command(out, None, lines=1, pages=1)
    assert len(html.fromstring((out / "review.html").read_text("utf-8")).findall(".//article")) == 1


def test_what_is_not_ours_is_not_written_over(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(UsageError, match="was not made by this command"):
        review_command(out, other, lines=1, pages=1)
    link = tmp_path / "link.html"
    link.symlink_to(other)
    with pytest.raises(UsageError, match="not a regular file"):
        review_command(out, link, lines=1, pages=1)
    assert other.read_text() == "<html>mine</html>"
    with pytest.raises(OutputError, match="cannot be written"):
        review_command(out, tmp_path / "no" / "folder.html", lines=1, pages=1)
    with pytest.raises(OutputError, match="cannot read the report"):
        review_command(tmp_path / "nothing", tmp_path / "x.html", lines=1, pages=1)


@pytest.mark.parametrize("outline", [(), ((900, 900), (950, 900), (950, 950)), ((-50, -50), (-20, -50), (-20, -20))])
def test_a_line_that_lies_nowhere_has_no_picture(outline: tuple[tuple[float, float], ...]) -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    assert (
        picture_of(
            image, Line(id="l", baseline=(), polygon=outline, heights=None, text="x", confidence=0.5), (100, 100)
        )
        is None
    )
