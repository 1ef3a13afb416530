"""One loaded pero-ocr stage: page in, page with layout or text out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pero_worker.engines.pero import compat, speed, tidy
from pero_worker.engines.pero.batches import OutOfMemory
from pero_worker.engines.pero.calibration import Calibration
from pero_worker.engines.pero.check import check_config
from pero_worker.engines.pero.crops import line_grid
from pero_worker.engines.pero.devices import device_errors, pages_at_once
from pero_worker.engines.pero.ink import Ink
from pero_worker.engines.pero.loading import device_of, load_parser, loading, readers_of
from pero_worker.engines.pero.logits import load_logits
from pero_worker.engines.pero.precision import Precision, precision_of
from pero_worker.engines.pero.readers import LineReader, Reading, calibration_of, read
from pero_worker.engines.pero.smallprint import reduce_less
from pero_worker.engines.pero.tidy import Tidying
from pero_worker.engines.pero.words import Frames, Rails, words_of
from pero_worker.engines.rules import PrintedRule, rules_in
from pero_worker.errors import PageError, PeroWorkerError, TransientError
from pero_worker.page import Page, Word
from pero_worker.work import EngineInput, EngineOutput

page_parser = compat.import_pero()

from pero_worker.engines.pero import convert  # noqa: E402 - imports pero_ocr, which must be repaired before
from pero_worker.engines.pero.gutters import part_lines  # noqa: E402
from pero_worker.engines.pero.margins import part_notes  # noqa: E402
from pero_worker.engines.pero.titles import add_titles  # noqa: E402

logger = logging.getLogger(__name__)

_DOUBTFUL = 0.9
"""Mean probability of letters below which a page may lie sideways or upside down."""

MIN_SIDE = 16
"""Minimum side of a page, in pixels. Layout reduces a page up to eight times: a narrower one would vanish, and has no
text."""


class PeroEngine:
    """pero-ocr as a `ports.Engine`."""

    needs_image = True
    description: str
    doubtful_below: float
    """Confidence below which a page may lie sideways or upside down."""
    pages_at_once: int
    """How many threads with a page each keep the device busy; more may call, too."""

    def __init__(self, config: ConfigParser, directory: Path, device: str) -> None:
        """Raises `StageError` if the stage cannot be loaded."""
        target = device_of(device)
        if target.type == "cpu":
            torch.set_num_threads(1)
        check_config(config, directory, cpu=target.type == "cpu")
        self._tidying = Tidying.of(config)
        precision = precision_of(config, target)
        with compat.no_warnings(), loading(directory):
            self._parser = load_parser(config, directory, target)
            speed.quicken(self._parser, page_parser.helpers, precision)
            self._readers = readers_of(self._parser, config, directory, target, precision)
        self._on_cpu = target.type == "cpu"
        self._alone = threading.Lock()
        self.pages_at_once = pages_at_once(target)
        self._calibration = calibration_of(config[tidy.SECTION]) if config.has_section(tidy.SECTION) else Calibration()
        self.doubtful_below = self._calibration(_DOUBTFUL)
        exact = precision == Precision()
        self.description = "pero-ocr 0.7.0" if exact else f"pero-ocr 0.7.0, {precision.name}"

    def close(self) -> None:
        self._parser, self._readers = None, []

    def process(self, work: EngineInput) -> EngineOutput:
        """Finds layout, text or both, as the stage's configuration says. Raises `PageError` if pero-ocr fails."""
        if work.image is None:
            raise PageError("the pero-ocr engine needs the page's image: send it along", permanent=True)
        parser = self._parser
        if work.page is None and not parser.run_layout_parser and (parser.run_line_cropper or parser.run_ocr):
            raise PageError(
                "there is no layout to read lines from: the stage looks for none (RUN_LAYOUT_PARSER = no), no stage "
                "before it did, and no PAGE XML or ALTO lies beside the image",
                permanent=True,
            )
        try:
            with torch.inference_mode(), np.errstate(all="ignore"), compat.no_warnings(), device_errors():
                run = _Run(self._parser, self._readers, self._calibration, work, work.image, self._alone)
                return run.finish(self._tidying)
        except PeroWorkerError:
            raise
        except OutOfMemory as error:
            if self._on_cpu:
                raise PageError(f"there is not enough memory for this page: {error}") from error
            raise TransientError(f"the GPU has no memory for this page now: {error}") from error
        except Exception as error:  # whatever pero-ocr stumbles over concerns this page alone
            raise PageError(f"pero-ocr failed on this page: {type(error).__name__}: {error}") from error


class _Run:
    """The steps of one page."""

    def __init__(
        self,
        parser: Any,
        readers: Sequence[LineReader],
        calibration: Calibration,
        work: EngineInput,
        image: NDArray[np.uint8],
        alone: threading.Lock,
    ) -> None:
        """`alone` is held around those steps of pero-ocr that keep state about a page while they work on it."""
        height, width = image.shape[:2]
        self.alone = alone
        self.parser = parser
        self.readers = readers
        self.calibration = calibration
        self.work = work
        self.image = image
        self.page = (
            replace(work.page, width=width, height=height)
            if work.page
            else Page(name=work.name, width=width, height=height)
        )
        self.layout = convert.to_layout(self.page)
        self.rails: dict[int, Rails] = {}
        self.readings: dict[int, Reading] = {}
        self.seconds: dict[str, float] = {}

    def finish(self, tidying: Tidying) -> EngineOutput:
        parser = self.parser
        rules: list[PrintedRule] = []
        if parser.run_layout_parser and min(self.image.shape[:2]) >= MIN_SIDE:
            with self._phase("layout"), self.alone:
                compat.forget_last_page(parser)
                self._lay_out()
                if tidying.find_small_print and reduce_less(parser, self.image):
                    self.layout = convert.to_layout(self.page)
                    self._lay_out()
                    add_titles(parser, self.image, self.layout)
                if tidying.find_paragraphs:
                    heights = [sum(line.heights) for line in self.layout.lines_iterator()]
                    rules = rules_in(self.image, float(np.median(heights))) if heights else []
                    part_lines(self.layout, rules)
                    part_notes(self.layout, self.image)
        if parser.run_line_cropper:
            with self._phase("crop"):
                self._crop()
        if parser.run_ocr:
            with self._phase("ocr"):
                self._recognise()
        if parser.run_decoder:
            with self._phase("decode"), self.alone:
                compat.forget_last_page(parser)
                self._decode()
        with self._phase("words"):
            words = self._words()
        page = tidying(convert.from_layout(self.layout, self.page, words), rules)
        logits = self.layout.save_logits_bytes() if parser.run_ocr else None
        return EngineOutput(page=page, logits=logits, seconds=self.seconds)

    def _lay_out(self) -> None:
        for step in self.parser.layout_parsers:
            self.layout = step.process_page(self.image, self.layout)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def _crop(self) -> None:
        cropper = self.parser.line_cropper.crop_engine
        for line in self.layout.lines_iterator():
            try:
                grid = line_grid(cropper, line)
                line.crop = cropper.fast_remap(self.image, grid)
                self.rails[id(line)] = Rails(top=grid[0], bottom=grid[-1])
            except Exception as error:
                # pero-ocr reads a line that cannot be cropped as empty, too.
                logger.debug("line %s cannot be cropped: %s", line.id, error)
                line.crop = np.zeros((cropper.line_height, 32, 3), np.uint8)

    def _recognise(self) -> None:
        lines = list(self.layout.lines_iterator())
        for line, reading in zip(lines, read(self.readers, [line.crop for line in lines]), strict=True):
            line.transcription, line.logits, line.logit_coords = reading.text, reading.logits, reading.span
            line.characters = reading.reader.characters
            self.readings[id(line)] = reading

    def _decode(self) -> None:
        if not self.parser.run_ocr:
            self._take_logits()
        decoder = self.parser.decoder
        for line in self.layout.lines_iterator():
            if line.logits is None:
                continue
            try:
                line.transcription = decoder.decode_line(line)
            except Exception as error:
                logger.warning("%s: line %s keeps its text, the decoder failed: %s", self.work.name, line.id, error)

    def _take_logits(self) -> None:
        from scipy.sparse import csc_matrix  # noqa: PLC0415 - beside the only use

        if self.work.logits is None:
            raise PageError("the decoder needs the logits of an OCR stage: put one before this stage")
        given = load_logits(self.work.logits)
        for line in self.layout.lines_iterator():
            if (logits := given.get(line.id)) is not None:
                line.logits = csc_matrix((logits.data, logits.indices, logits.indptr), shape=logits.shape)
                line.characters = logits.characters
                line.logit_coords = logits.coords

    def _words(self) -> dict[int, tuple[Word, ...]]:
        """Sets the lines' confidences, drops the lines that are unsure by pero-ocr's measure, and returns the words by
        the `id()` of the line object."""
        known = {line.id: line for line in self.page.lines()}
        threshold = self.parser.filter_confident_lines_threshold
        words: dict[int, tuple[Word, ...]] = {}
        for region in self.layout.regions:
            sure = []
            for line in region.lines:
                reading = self.readings.get(id(line))
                least_sure = line.transcription_confidence or 0.0
                if line.logits is not None:
                    frames = reading.frames if reading else Frames.of(line.logits)
                    calibration = reading.reader.calibration if reading else self.calibration
                    least_sure = frames.least_sure()
                    line.transcription_confidence = reading.confidence if reading else calibration(frames.letters())
                    words[id(line)] = self._words_of(line, frames, reading, calibration)
                elif line.id in known and known[line.id].text == line.transcription:
                    words[id(line)] = known[line.id].words
                if threshold <= 0 or least_sure > threshold:
                    sure.append(line)
            region.lines = sure
        return words

    def _words_of(
        self, line: Any, frames: Frames, reading: Reading | None, calibration: Calibration
    ) -> tuple[Word, ...]:
        ctc = self.parser.provides_ctc_logits or not self.parser.run_ocr
        if not ctc or not line.transcription or line.characters is None or line.logit_coords is None:
            return ()
        rails, crop = self.rails.get(id(line)), line.crop
        if rails is None:
            rails, crop = _cropped_anew(line, self.image)
        if rails is None:
            return ()
        width = reading.width if reading else None if line.crop is None else line.crop.shape[1]
        size, span = (self.page.width, self.page.height), tuple(line.logit_coords)
        ink = None if crop is None else Ink.of(crop)
        return words_of(line.transcription, frames, line.characters, span, rails, size, width, calibration, ink)


def _cropped_anew(line: Any, image: NDArray[np.uint8]) -> tuple[Rails | None, NDArray[np.uint8] | None]:
    """Returns the edges of a line that this stage did not crop, and its picture."""
    try:
        cropper = page_parser.cropper.EngineLineCropper(line_height=32, poly=2)
        grid = line_grid(cropper, line)
        if not grid.shape[1]:
            return None, None
        return Rails(top=grid[0], bottom=grid[-1]), cropper.fast_remap(image, grid)
    except Exception as error:
        logger.debug("line %s has no geometry: %s", line.id, error)
        return None, None
