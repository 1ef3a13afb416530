"""Pages scanned the wrong way round, and faxes, with real engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from field_images import LINES, drawn, encoded

from pero_worker.engines.registry import load_engine
from pero_worker.inputs.images import decode_scan
from pero_worker.models.pipelines import load_pipeline
from pero_worker.work import EngineInput
from pero_worker.worker.upright import process_upright
from pero_worker.worker.view import orientation_of


@pytest.mark.parametrize(("pipeline", "turns"), [("print-latin-small", (1, 2)), ("rapidocr", (3, 2))])
def test_a_page_that_lies_wrong_is_read(tmp_path: Path, pipeline: str, turns: tuple[int, ...]) -> None:
    (stage,) = load_pipeline(pipeline, cache=tmp_path).stages
    assert stage.directory is not None
    engine = load_engine(stage, stage.directory, "cpu")
    for quarter in turns:
        scan = decode_scan(encoded(drawn().rotate(90 * quarter, expand=True), "PNG"))
        page = process_upright(engine, EngineInput(name="p", size=1), scan, max_pixels=10**7).page
        assert page is not None
        assert tuple(line.text for line in page.lines()) == LINES
        assert page.orientation == orientation_of(quarter)
        assert (page.height, page.width) == scan.image.shape[:2]
        ink = np.argwhere(scan.image[:, :, 0] < 128)[:, ::-1]
        corners = np.array([point for line in page.lines() for point in line.polygon])
        assert corners.min(axis=0) == pytest.approx(ink.min(axis=0), abs=20)
        assert corners.max(axis=0) == pytest.approx(ink.max(axis=0), abs=20)
    engine.close()


def test_a_page_that_looks_blank_as_it_lies_is_turned(tmp_path: Path) -> None:
    """The layout engine finds no line on it; a page without any ink is not searched."""
    (stage,) = load_pipeline("print-latin-small", cache=tmp_path).stages
    assert stage.directory is not None
    engine = load_engine(stage, stage.directory, "cpu")
    lines = ("The quick brown fox",)
    scan = decode_scan(encoded(drawn(lines, (800, 400), 36).rotate(-90, expand=True), "PNG"))
    as_it_lies = engine.process(EngineInput(name="p", size=1, image=scan.image)).page
    assert as_it_lies is not None and not list(as_it_lies.lines()), "this page does not try it any more"
    page = process_upright(engine, EngineInput(name="p", size=1), scan, max_pixels=10**7).page
    engine.close()
    assert page is not None and tuple(line.text for line in page.lines()) == lines


def test_a_fax_is_read(tmp_path: Path) -> None:
    (stage,) = load_pipeline("print-latin-small", cache=tmp_path).stages
    assert stage.directory is not None
    engine = load_engine(stage, stage.directory, "cpu")
    picture = drawn(size=(1400, 480), font=64)
    fax = picture.resize((1400, 230)).convert("1")
    scan = decode_scan(encoded(fax, "TIFF", compression="group3", dpi=(204, 98)))
    page = process_upright(engine, EngineInput(name="p", size=1), scan, max_pixels=10**7).page
    engine.close()
    assert page is not None
    assert tuple(line.text for line in page.lines()) == LINES
    assert (page.width, page.height) == (1400, 230)
    assert max(y for line in page.lines() for _, y in line.polygon) <= 230
