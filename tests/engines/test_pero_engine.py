from __future__ import annotations

import itertools
import json
import logging
import random
import re
import shutil
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidfuzz.distance import Levenshtein
from strict import faults_of

import pero_worker
from pero_worker.engines.pero import load, precision
from pero_worker.engines.pero.batches import ReadingDesk, as_batch, padded_widths
from pero_worker.engines.pero.recognition import Recognition
from pero_worker.engines.pero.smallprint import letter_height
from pero_worker.engines.rules import PrintedRule
from pero_worker.errors import DeviceError, PageError, StageError, TransientError
from pero_worker.formats import pagexml
from pero_worker.inputs.images import decode_image
from pero_worker.page import Line, Page, Region
from pero_worker.ports import Engine
from pero_worker.work import EngineInput, EngineOutput

pytest.importorskip("pero_ocr")
torch = pytest.importorskip("torch")

PIPELINE = Path(pero_worker.__file__).parent / "pipelines" / "print-latin"
SCANS = Path(__file__).parents[2] / "build/demo/scans"
LONG = "The quick brown fox jumps over the lazy dog. " * 6 + "And then it rests."


def stage(**changes: dict[str, str]) -> ConfigParser:
    config = ConfigParser()
    config.read(PIPELINE / "config.ini")
    config.read_dict(changes)
    return config


def decoding(kind: str = "GREEDY", **steps: str) -> ConfigParser:
    return stage(PAGE_PARSER=steps | {"RUN_DECODER": "yes"}, DECODER={"TYPE": kind})


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    loaded = load(stage(), PIPELINE, "cpu")
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def lines_only() -> Engine:
    """Crops and reads the lines of the page it is given, and keeps all of them as they come."""
    keep = {"FIND_PARAGRAPHS": "no", "DROP_FALSE_LINES": "no"}
    return load(stage(PAGE_PARSER={"RUN_LAYOUT_PARSER": "no"}, WORKER=keep), PIPELINE, "cpu")


@pytest.fixture
def brnolm(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty language model package: the greedy decoder imports it and never uses it."""
    for name in ("brnolm", "brnolm.language_models", "brnolm.language_models.language_model"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["brnolm.language_models"], "language_model", None, raising=False)


def drawn(*texts: str, width: int = 900, size: int = 40) -> np.ndarray:
    image = Image.new("RGB", (width, int(160 + size * 1.6 * len(texts))), "white")
    draw = ImageDraw.Draw(image)
    for number, text in enumerate(texts):
        draw.text((60, 80 + number * size * 1.6), text, fill="black", font=ImageFont.load_default(size))
    return np.asarray(image)[:, :, ::-1].copy()


def run(engine: Engine, image: np.ndarray, **more: Any) -> EngineOutput:
    return engine.process(EngineInput(name="p.png", size=image.size, image=image, **more))


def box(points: tuple[tuple[float, float], ...]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, pero_worker.engines.pero; sys.exit('torch' in sys.modules or 'pero_ocr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_text_words_and_logits_of_a_drawn_page(engine: Engine) -> None:
    result = run(engine, drawn("The quick brown fox", "jumps over the lazy dog"))
    assert result.page is not None
    lines = list(result.page.lines())
    assert [line.text for line in lines] == ["The quick brown fox", "jumps over the lazy dog"]
    for line in lines:
        assert 0.5 < line.confidence <= 1
        assert [word.text for word in line.words] == line.text.split()
        left, top, right, bottom = box(line.polygon)
        edge = 0.0
        for word in line.words:
            x0, y0, x1, y1 = box(word.polygon)
            assert edge <= x0 < x1
            assert left - 12 <= x0
            assert x1 <= right + 12
            assert top - 6 <= y0 < y1 <= bottom + 6
            assert 0.3 < word.confidence <= 1
            edge = x1
    assert {region.kind for region in result.page.regions} == {"paragraph"}
    assert faults_of(pagexml.write(result.page, created=datetime(2026, 1, 2, tzinfo=UTC), creator="test")) == []
    assert set(result.seconds) == {"layout", "crop", "ocr", "words"}
    assert result.logits is not None
    assert "numba" not in sys.modules


def test_a_line_across_a_rule_in_a_gutter_is_parted(engine: Engine) -> None:
    from pero_ocr.core.layout import PageLayout, RegionLayout, TextLine  # noqa: PLC0415 - repaired by the engine

    from pero_worker.engines.pero.gutters import part_lines  # noqa: PLC0415

    line = TextLine("l", np.array([(100.0, 200.0), (500.0, 204.0), (900.0, 208.0)]), heights=[30.0, 10.0])
    layout = PageLayout(id="p", page_size=(1000, 1000))
    layout.regions.append(RegionLayout("r", np.array([(0, 0), (1000, 0), (1000, 1000)])))
    for rule, ends in (
        (PrintedRule(start=(520.0, 20.0), end=(520.0, 900.0)), [(100, 510), (530, 900)]),
        (PrintedRule(start=(520.0, 20.0), end=(520.0, 900.0), stands_free=False), [(100, 900)]),
        (PrintedRule(start=(520.0, 300.0), end=(520.0, 900.0)), [(100, 900)]),
        (PrintedRule(start=(890.0, 20.0), end=(890.0, 900.0)), [(100, 900)]),
        (PrintedRule(start=(20.0, 520.0), end=(900.0, 520.0)), [(100, 900)]),
    ):
        layout.regions[0].lines = [line]
        part_lines(layout, [rule])
        assert [(part.baseline[0][0], part.baseline[-1][0]) for part in layout.lines_iterator()] == ends


@pytest.fixture(scope="module")
def best() -> Iterator[Engine]:
    """Two recognisers, for lines of two heights."""
    folder = PIPELINE.with_name("print-best")
    config = ConfigParser()
    config.read(folder / "config.ini")
    loaded = load(config, folder, "cpu")
    yield loaded
    loaded.close()


@pytest.mark.parametrize("readers", ["engine", "best"])
def test_words_lie_on_their_ink(readers: str, request: pytest.FixtureRequest) -> None:
    image = drawn("minimum minimum minimum")
    (line,) = run(request.getfixturevalue(readers), image).page.lines()
    assert line.text == "minimum minimum minimum"
    dark = np.flatnonzero((image < 128).any(axis=(0, 2)))
    gaps = np.flatnonzero(np.diff(dark) > 7)
    ink = list(zip(dark[[0, *(gaps + 1)]], dark[[*gaps, -1]], strict=True))
    assert len(ink) == len(line.words) == 3
    for (start, end), word in zip(ink, line.words, strict=True):
        assert word.polygon[0][0] == pytest.approx(start, abs=4)
        assert word.polygon[1][0] == pytest.approx(end, abs=4)


def test_a_page_depends_on_nothing_before_it(engine: Engine) -> None:
    small, large = drawn("tiny letters here", size=22), drawn("Large ones", "in two lines", size=90)
    alone = run(engine, large)
    random.seed(7)
    np.random.seed(7)
    run(engine, small)
    after = run(engine, large)
    assert after.page == alone.page
    assert after.logits == alone.logits


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 4000), (4000, 1), (20000, 8), (8, 20000), (17, 17), (20, 5000), (400, 300)]
)
@pytest.mark.parametrize("value", [0, 255])
def test_pages_without_text_have_no_lines(engine: Engine, shape: tuple[int, int], value: int) -> None:
    result = run(engine, np.full((*shape, 3), value, np.uint8))
    assert list(result.page.lines()) == []
    assert (result.page.height, result.page.width) == shape
    assert result.logits is not None


def test_noise_is_no_error(engine: Engine) -> None:
    generator = np.random.default_rng(1)
    fine = generator.integers(0, 256, (500, 400, 3), dtype=np.uint8)
    coarse = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
    for image in (fine, coarse):
        assert run(engine, image).page is not None


def whole_line(width: int, height: int) -> Page:
    baseline = ((50.0, height * 0.66), (width - 50.0, height * 0.66))
    line = Line(
        id="l1",
        baseline=baseline,
        polygon=((0, 0), (width, 0), (width, height), (0, height)),
        heights=(height * 0.4, height * 0.16),
    )
    return Page(
        name="p",
        width=width,
        height=height,
        regions=(Region(id="r1", polygon=line.polygon, lines=(line,), kind="paragraph"),),
    )


def test_a_very_long_line_keeps_its_end(lines_only: Engine) -> None:
    image = drawn(LONG, width=6000, size=40)[60:160]
    result = run(lines_only, image, page=whole_line(6000, 100))
    (line,) = result.page.lines()
    assert line.text.startswith("The quick brown")
    assert line.text.endswith("rests.")
    assert line.words[-1].polygon[1][0] > 4500
    assert result.page.regions[0].kind == "paragraph"


def test_the_bundled_pipeline_reads_prices_with_their_titles(engine: Engine) -> None:
    titles = drawn("Morning in the hills", "Ships at anchor", "The old mill", "A walk by the lake")
    prices = drawn("250", "400", "175", "320", width=300)
    read = [line.text or "" for line in run(engine, np.hstack([titles, prices])).page.lines()]
    text = " ".join(" ".join(read).split())
    order = "Morning in the hills 250 Ships at anchor 400 The old mill 175 A walk by the lake 320"
    # A letter or digit misread is not the point; a title that changes places costs ten edits and more.
    assert Levenshtein.distance(text, order) <= 5


def without_confidence(config: Path) -> str:
    """All but the points that were measured for one net."""
    return re.sub(r"(?m)^CONFIDENCE = .*\n(?:[ \t]+.*\n)*", "", config.read_text())


def test_the_small_bundled_pipeline_reads_with_three_megabytes() -> None:
    folder = PIPELINE.with_name("print-latin-small")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3e6 + 10_000  # the model card's share
    assert without_confidence(folder / "config.ini") == without_confidence(PIPELINE / "config.ini")
    config = ConfigParser()
    config.read(folder / "config.ini")
    small = load(config, folder, "cpu")
    texts = ["The quick brown fox jumps", "over the lazy dog", "and rests in the shade"]
    read = [line.text or "" for line in run(small, drawn(*texts)).page.lines()]
    small.close()
    assert Levenshtein.distance("\n".join(read), "\n".join(texts)) <= 3


def test_lines_that_cannot_be_cropped_do_not_stop_the_page(lines_only: Engine) -> None:
    image = drawn("some text", width=400)[60:150]
    page = whole_line(400, image.shape[0])
    (sound,) = page.lines()
    nan = float("nan")
    odd = [
        replace(sound, id="point", baseline=((5, 5), (5, 5))),
        replace(sound, id="far", baseline=((-1e9, 0), (1e9, 0)), heights=(0, 0)),
        replace(sound, id="nan", baseline=((nan, 1), (9, nan)), heights=(nan, nan)),
        replace(sound, id="vertical", baseline=((50, 5), (50, 60))),
        replace(sound, id="guessed", heights=None),
        replace(sound, id="no baseline", baseline=()),
        replace(sound, id="nowhere", baseline=(), polygon=()),
    ]
    region = replace(page.regions[0], lines=(sound, *odd))
    lines = {line.id: line for line in run(lines_only, image, page=replace(page, regions=(region,))).page.lines()}
    assert "some" in lines["l1"].text
    assert set(lines) == {"l1", *(line.id for line in odd)} - {"nowhere"}


@pytest.mark.usefixtures("brnolm")
def test_a_decoder_takes_up_the_logits_of_the_stage_before(engine: Engine) -> None:
    image = drawn("The quick brown fox")
    read = run(engine, image)
    assert read.page is not None
    (line,) = read.page.lines()
    only = decoding("GREEDY", RUN_LAYOUT_PARSER="no", RUN_LINE_CROPPER="no", RUN_OCR="no")
    decoder = load(only, PIPELINE, "cpu")
    bare = replace(line, text=None, words=(), confidence=None)
    page = replace(read.page, regions=(replace(read.page.regions[0], lines=(bare,)),))
    result = run(decoder, image, page=page, logits=read.logits)
    (decoded,) = result.page.lines()
    assert decoded.text == line.text
    assert decoded.confidence == pytest.approx(line.confidence, abs=1e-6)
    assert result.logits is None
    for word, before in zip(decoded.words, line.words, strict=True):
        assert np.allclose(word.polygon, before.polygon, atol=4)
    with pytest.raises(PageError, match="logits"):
        run(decoder, image, page=page)
    with pytest.raises(PageError, match="logits"):
        run(decoder, image, page=page, logits=b"cos\nsystem\n(S'true'\ntR.")


@pytest.mark.usefixtures("brnolm")
def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    run(load(decoding(), PIPELINE, "cpu"), drawn("Silence"))
    assert capfd.readouterr() == ("", "")


def test_unsure_lines_are_dropped_on_request() -> None:
    strict = load(stage(PAGE_PARSER={"FILTER_CONFIDENT_LINES_THRESHOLD": "0.9999"}), PIPELINE, "cpu")
    assert list(run(strict, drawn("The quick brown fox")).page.lines()) == []


def test_a_layout_stage_keeps_text_and_words_it_was_given() -> None:
    config = stage(PAGE_PARSER={"RUN_LINE_CROPPER": "no", "RUN_OCR": "no"})
    config.remove_section("LAYOUT_PARSER_1")
    given = whole_line(400, 60)
    (line,) = given.lines()
    page = replace(given, regions=(replace(given.regions[0], lines=(replace(line, text="kept", confidence=0.5),)),))
    result = run(load(config, PIPELINE, "cpu"), drawn("x", width=400)[:60], page=page)
    assert [(kept.text, kept.confidence) for kept in result.page.lines()] == [("kept", 0.5)]
    assert result.logits is None


def test_what_pero_ocr_raises_becomes_a_page_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(engine._parser.layout_parsers[0], "process_page", fail)  # type: ignore[attr-defined]
    with pytest.raises(PageError, match=r"pero-ocr failed on this page: .*boom"):
        run(engine, drawn("x"))
    with pytest.raises(PageError, match="image"):
        engine.process(EngineInput(name="p", size=0))


def crops_of(engine: Engine, *images: np.ndarray) -> list[np.ndarray]:
    """The pictures of lines that the engine's recogniser is shown."""
    seen: list[np.ndarray] = []
    reader = engine._readers[0]  # type: ignore[attr-defined]
    lines = reader._lines
    reader._lines = lambda crops: (seen.extend(crops), lines(crops))[1]
    try:
        for image in images:
            run(engine, image)
    finally:
        del reader._lines
    return seen


def scan(name: str) -> np.ndarray:
    return decode_image((SCANS / name).read_bytes())


def test_a_line_is_read_as_it_is_read_alone_whatever_is_read_with_it(engine: Engine) -> None:
    crops = crops_of(engine, scan("typewriter.png")[:700], drawn("The quick brown fox", "jumps over it", size=48))
    read = Recognition(engine._readers[0].recogniser)  # type: ignore[attr-defined]
    (width,) = padded_widths([max(crop.shape[1] for crop in crops)])
    alone = [read(as_batch([crop], width))()[0] for crop in crops]
    assert len(crops) > 5 and sum(len(text) for text, _ in alone) > 60
    order = random.Random(4).sample(range(len(crops)), len(crops))
    for number in (2, 3, len(crops)):
        for start in range(0, len(crops), number):
            places = order[start : start + number]
            for place, (text, logits) in zip(places, read(as_batch([crops[at] for at in places], width))()):  # noqa: B905
                assert text == alone[place][0]
                # On most processors there is no difference at all; with another line's padding it is 0.1 and more.
                assert np.abs(logits - alone[place][1]).max() < 0.01


def test_pages_in_hand_at_a_time_read_as_one_after_the_other(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [drawn("The quick brown fox", "jumps over it", size=48), scan("typewriter.png")[:700]]
    reader = engine._readers[0]  # type: ignore[attr-defined]
    desk, sizes, all_here = reader._desk, [], threading.Barrier(4)

    def watched(batch: np.ndarray) -> Any:
        sizes.append(len(batch))
        return desk.forward(batch)

    shared = ReadingDesk(forward=watched, max_pixels=100_000)

    class Desk:
        def read(self, crops: list[np.ndarray]) -> list[Any]:
            all_here.wait(120)
            return shared.read(crops)

    one_by_one = [run(engine, image).page for image in images]
    monkeypatch.setattr(reader, "_desk", Desk())
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda image: run(engine, image).page, images * 2)) == one_by_one * 2
    assert max(sizes) > 4, "the lines of several pages shared a batch"


def test_a_device_without_memory_for_a_batch_reads_it_in_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn(*["The quick brown fox"] * 5)
    before = run(engine, image)
    recogniser = engine._readers[0].recogniser  # type: ignore[attr-defined]
    model, sizes = recogniser.model, []

    def small(pixels: Any) -> Any:
        sizes.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return model(pixels)

    monkeypatch.setattr(recogniser, "model", small)
    assert run(engine, image).page == before.page
    assert max(sizes) > 2 and sizes[-1] <= 2


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors"), DeviceError, "launch failure$"),
        (torch.AcceleratorError("GPU has fallen off the bus"), DeviceError, "fallen off the bus"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), DeviceError, "EXECUTION_FAILED"),
        (torch.OutOfMemoryError("CUDA out of memory."), TransientError, "no memory for this page now"),
        (RuntimeError("expected 3 channels"), PageError, "expected 3 channels"),
    ],
)
def test_a_gpu_that_fails_is_no_fault_of_the_page(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], said: str
) -> None:
    def fail(_pixels: Any) -> Any:
        raise error

    monkeypatch.setattr(engine, "_on_cpu", False)
    for net in (engine._readers[0].recogniser, engine._parser.layout_parsers[0].engine.parsenet):  # type: ignore[attr-defined]
        with monkeypatch.context() as patch:
            patch.setattr(net, "model" if hasattr(net, "model") else "net", fail)
            with pytest.raises(kind, match=said) as caught:
                run(engine, drawn("The quick brown fox"))
            assert type(caught.value) is kind


@pytest.mark.parametrize("name", ["ocr.pt", "parsenet.pt"])
def test_a_damaged_model_is_a_stage_error(tmp_path: Path, name: str) -> None:
    for file in ("ocr.json", "ocr.pt", "parsenet.pt"):
        shutil.copy(PIPELINE / file, tmp_path / file)
    (tmp_path / name).write_bytes((PIPELINE / name).read_bytes()[:5000])
    with pytest.raises(StageError, match="cannot be loaded"):
        load(stage(), tmp_path, "cpu")


def test_unknown_devices_and_heights_are_stage_errors() -> None:
    with pytest.raises(StageError, match="device"):
        load(stage(), PIPELINE, "abacus")
    with pytest.raises(StageError, match="LINE_HEIGHT"):
        load(stage(LINE_CROPPER={"LINE_HEIGHT": "32"}), PIPELINE, "cpu")
    assert json.loads((PIPELINE / "ocr.json").read_text())["line_px_height"] == 40


def test_missing_packages_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "pero_worker.engines.pero.engine", raising=False)
    monkeypatch.delattr("pero_worker.engines.pero.engine", raising=False)
    with pytest.raises(StageError, match=r"pip install 'pero-worker\[pero\]'"):
        load(stage(), PIPELINE, "cpu")
    logging.getLogger("pero_worker").debug("torch is back after this test")


def test_bfloat16_is_used_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn(
        "The quick brown fox", "jumps over the lazy dog", size=48
    )  # letters that layout need not look at twice
    pages, names = {}, {}
    for asked, able in (("float32", True), ("bfloat16", False), ("bfloat16", True)):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda _device, able=able: able)
        loaded = load(stage(WORKER={"PRECISION": asked}), PIPELINE, "cpu")
        pages[asked, able], names[asked, able] = run(loaded, image).page, loaded.description
    exact, half = pages["float32", True], pages["bfloat16", True]
    assert pages["bfloat16", False] == exact
    assert half != exact
    assert [able for able, name in names.items() if name.endswith("bfloat16")] == [("bfloat16", True)]
    for line, other in zip(exact.lines(), half.lines(), strict=True):
        assert other.text == line.text
        assert other.heights == pytest.approx(line.heights, abs=0.5)


def test_another_precision_is_a_stage_error() -> None:
    with pytest.raises(StageError, match="PRECISION = float16 is not float32, bfloat16 or int8"):
        load(stage(WORKER={"PRECISION": "float16"}), PIPELINE, "cpu")


def test_lines_are_not_read_without_a_layout(lines_only: Engine) -> None:
    with pytest.raises(PageError, match="no layout to read lines from"):
        run(lines_only, drawn("words"))
    assert run(lines_only, drawn("words"), page=Page(name="p.png", width=900, height=300)).page == Page(
        name="p.png", width=900, height=224
    )


def newspaper() -> np.ndarray:
    """A title in large type over lines of letters that are 7 pixels high."""
    image = Image.new("L", (760, 900), 255)
    draw = ImageDraw.Draw(image)
    draw.text((90, 40), "THE DAILY NEWS", fill=0, font=ImageFont.load_default(72))
    words = " ".join(itertools.islice(itertools.cycle(LONG.split()), 12))
    for top in range(160, 860, 20):
        draw.text((40, top), words, fill=0, font=ImageFont.load_default(12))
    return np.repeat(np.asarray(image)[:, :, None], 3, axis=2)


def test_small_print_under_a_large_title_is_found(engine: Engine) -> None:
    lines = list(run(engine, newspaper()).page.lines())
    assert len([line for line in lines if sum(line.heights or (99,)) < 30]) == 35
    (title,) = (line for line in lines if sum(line.heights or (0,)) > 50)
    assert Levenshtein.distance(title.text or "", "THE DAILY NEWS") <= 2


def test_the_height_of_letters_is_told_by_their_ink() -> None:
    assert letter_height(newspaper()) == pytest.approx(7, abs=2)
    assert letter_height(np.full((300, 300, 3), 255, np.uint8)) is None
    assert letter_height(np.full((1, 1, 3), 255, np.uint8)) is None
