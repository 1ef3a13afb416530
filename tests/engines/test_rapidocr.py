"""RapidOCR behind our port: what is made of its boxes (with a stand-in), and the real one on a drawn page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pero_worker.engines import ppocr
from pero_worker.engines import rapidocr as module
from pero_worker.errors import StageError
from pero_worker.page import Page
from pero_worker.work import EngineInput

PAGE = np.full((400, 600, 3), 255, np.uint8)


class TooThin(Exception):
    pass


@dataclass
class Found:
    boxes: Any = None
    txts: Any = None
    scores: Any = None
    elapse_list: list[float | None] = field(default_factory=list)
    word_results: Any = ()


@dataclass
class Reader:
    """Stands in for rapidocr.RapidOCR."""

    found: Found = field(default_factory=Found)
    error: Exception | None = None
    calls: list[dict[str, bool]] = field(default_factory=list)

    def __call__(self, image: Any, **flags: bool) -> Found:
        self.calls.append(flags)
        if self.error:
            raise self.error
        return self.found


def quad(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def read(reader: Reader, image: Any = PAGE) -> Page:
    page = module.RapidOcrEngine(reader, (TooThin,)).process(EngineInput(name="a.png", size=1, image=image)).page
    assert page is not None
    return page


def test_boxes_become_lines_in_reading_order() -> None:
    boxes = np.array([quad(50, 100, 450, 140), quad(50, 40, 450, 80)], np.float32)
    page = read(Reader(Found(boxes, ("second", "first"), (0.5, 1.0))))
    assert (page.name, page.width, page.height) == ("a.png", 600, 400)
    assert [(line.text, line.confidence) for line in page.lines()] == [("first", 1.0), ("second", 0.5)]
    assert len({line.id for line in page.lines()}) == 2
    (region,) = page.regions
    assert region.polygon == ((50, 40), (450, 40), (450, 140), (50, 140))


def test_the_baseline_runs_a_fifth_of_the_height_above_the_lower_edge() -> None:
    page = read(Reader(Found(np.array([quad(50, 100, 450, 150)], np.float32), ("word",), (0.9,))))
    (line,) = page.lines()
    assert line.polygon == ((50, 100), (450, 100), (450, 150), (50, 150))
    assert np.array(line.baseline) == pytest.approx(np.array([(50, 140), (450, 140)]))
    assert line.heights == pytest.approx((40, 10))


def test_the_baseline_follows_a_slanting_box() -> None:
    slanting = np.array([[[50, 100], [450, 140], [450, 190], [50, 150]]], np.float32)
    (line,) = read(Reader(Found(slanting, ("word",), (0.9,)))).lines()
    assert np.array(line.baseline) == pytest.approx(np.array([(50, 140), (450, 180)]))


def test_columns_are_regions() -> None:
    left = [quad(20, 50 * row, 280, 50 * row + 40) for row in range(5)]
    right = [quad(320, 50 * row, 580, 50 * row + 40) for row in range(5)]
    texts = [f"l{row}" for row in range(5)] + [f"r{row}" for row in range(5)]
    page = read(Reader(Found(np.array(left + right, np.float32), texts, [0.9] * 10)))
    assert [[line.text for line in region.lines] for region in page.regions] == [texts[:5], texts[5:]]
    assert len({region.id for region in page.regions}) == 2


@pytest.mark.parametrize(("score", "confidence"), [(1.2, 1.0), (-0.1, 0.0)])
def test_confidences_are_probabilities(score: float, confidence: float) -> None:
    (line,) = read(Reader(Found(np.array([quad(0, 0, 90, 30)]), ("x",), (score,)))).lines()
    assert line.confidence == confidence


def test_the_flags_go_with_every_call() -> None:
    reader = Reader()
    for _ in range(2):
        read(reader)
    assert [(flags["use_det"], flags["use_cls"], flags["use_rec"]) for flags in reader.calls] == [
        (True, False, True)
    ] * 2


def test_a_page_without_text_is_an_empty_page() -> None:
    assert read(Reader()) == Page(name="a.png", width=600, height=400)


@pytest.mark.parametrize("shape", [(1, 4000), (8, 20000), (4000, 1), (1, 1)])
def test_thin_and_tiny_pictures_are_not_even_tried(shape: tuple[int, int]) -> None:
    reader = Reader(error=AssertionError("called"))
    assert read(reader, np.zeros((*shape, 3), np.uint8)) == Page(name="a.png", width=shape[1], height=shape[0])


def test_a_picture_that_cannot_be_scaled_is_an_empty_page() -> None:
    assert read(Reader(error=TooThin())) == Page(name="a.png", width=600, height=400)


def test_phases_are_timed_and_those_not_run_are_left_out() -> None:
    found = Found(np.array([quad(0, 0, 90, 30)]), ("x",), (0.9,), [0.25, None, 0.5])
    output = module.RapidOcrEngine(Reader(found), ()).process(EngineInput(name="a.png", size=1, image=PAGE))
    assert output.seconds == {"detect": 0.25, "recognise": 0.5}


def test_weights_are_checked_against_the_pinned_release(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"det\.onnx is missing.*pip install"):
        ppocr.verified(tmp_path / "det.onnx", "0" * 64)
    (tmp_path / "det.onnx").write_bytes(b"other weights")
    with pytest.raises(StageError, match=r"det\.onnx is not that of rapidocr 3\.10\.0"):
        ppocr.verified(tmp_path / "det.onnx", "0" * 64)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(StageError, match=r"pip install 'pero-worker\[rapidocr\]'"):
        module.load(ConfigParser(), Path(), "cpu")


# -- the real one -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[module.RapidOcrEngine]:
    pytest.importorskip("rapidocr", exc_type=ImportError)
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    loaded = module.load(ConfigParser(), Path(), "cpu")
    yield loaded
    loaded.close()


def drawn(*lines: str) -> Any:
    picture = Image.new("RGB", (900, 100 + 70 * len(lines)), "white")
    pen = ImageDraw.Draw(picture)
    for row, text in enumerate(lines):
        pen.text((60, 50 + 70 * row), text, "black", ImageFont.load_default(size=36))
    return np.asarray(picture)[:, :, ::-1].copy()


def test_it_reads_a_drawn_page(engine: module.RapidOcrEngine) -> None:
    texts = ["The first line of the page", "Number 1887 stands here"]
    output = engine.process(EngineInput(name="drawn.png", size=1, image=drawn(*texts)))
    assert output.page is not None
    lines = list(output.page.lines())
    assert [line.text for line in lines] == texts
    assert all(line.confidence is not None and line.confidence > 0.8 for line in lines)
    for row, line in enumerate(lines):
        # The foot of the letters, within a fifth of their size.
        assert line.baseline[0][1] == pytest.approx(50 + 70 * row + 35, abs=8)
    assert {"detect", "recognise"} <= set(output.seconds)
    assert engine.description == "rapidocr 3.10.0"


@pytest.mark.parametrize("grey", [0, 255])
def test_a_blank_page_has_no_lines(engine: module.RapidOcrEngine, grey: int) -> None:
    page = engine.process(EngineInput(name="blank.png", size=1, image=np.full((300, 200, 3), grey, np.uint8))).page
    assert page == Page(name="blank.png", width=200, height=300)


@pytest.mark.parametrize("shape", [(16, 20000), (17, 3000), (3000, 17)])
def test_extreme_shapes_do_not_raise(engine: module.RapidOcrEngine, shape: tuple[int, int]) -> None:
    page = engine.process(EngineInput(name="strip.png", size=1, image=np.full((*shape, 3), 255, np.uint8))).page
    assert page == Page(name="strip.png", width=shape[1], height=shape[0])


def test_it_never_downloads(engine: module.RapidOcrEngine) -> None:
    from rapidocr.utils.download_file import DownloadFile  # noqa: PLC0415

    with pytest.raises(StageError, match="never"):
        DownloadFile.run(None)


def test_words_lie_on_their_line_and_prices_stay_in_it(engine: module.RapidOcrEngine) -> None:
    picture = Image.fromarray(drawn("204. The old mill", "205. Morning")[:, :, ::-1])
    ImageDraw.Draw(picture).text((760, 50), "320", "black", ImageFont.load_default(size=36))
    page = engine.process(EngineInput(name="a.png", size=1, image=np.asarray(picture)[:, :, ::-1].copy())).page
    assert page is not None
    first = next(page.lines())
    assert first.text == "204. The old mill 320"
    assert [word.text for word in first.words] == first.text.split()
    assert first.words[-1].polygon[0][0] == pytest.approx(760, abs=15)
    assert [word.polygon[0][0] for word in first.words] == sorted(word.polygon[0][0] for word in first.words)


def test_weights_are_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppocr, "find_spec", lambda name: None)
    with pytest.raises(StageError, match=r"pip install 'pero-worker\[rapidocr\]'"):
        ppocr.model("Rec")
