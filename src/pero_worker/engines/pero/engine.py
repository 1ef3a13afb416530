"""One loaded pero-ocr stage: page in, page with layout or text out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pero_worker.engines.pero import compat, speed
from pero_worker.engines.pero.check import check_config
from pero_worker.engines.pero.logits import load_logits
from pero_worker.engines.pero.tidy import Tidying
from pero_worker.engines.pero.words import Frames, Rails, words_of
from pero_worker.errors import PageError, PeroWorkerError, StageError, TransientError
from pero_worker.page import Page, Word
from pero_worker.work import EngineInput, EngineOutput

page_parser = compat.import_pero()

from pero_worker.engines.pero import convert  # noqa: E402 - imports pero_ocr, which must be repaired before

logger = logging.getLogger(__name__)

MIN_SIDE = 16
"""Pixels. Layout reduces a page up to eight times: a narrower one would vanish, and holds no text."""
WIDEST_CROP = 32_000
"""Pixels. OpenCV cannot map a wider image; pero-ocr reads such a line as empty."""


class PeroEngine:
    """pero-ocr as a `ports.Engine`."""

    needs_image = True
    description: str

    def __init__(self, config: ConfigParser, directory: Path, device: str) -> None:
        """StageError: the stage cannot be loaded."""
        target = _device(device)
        if target.type == "cpu":
            torch.set_num_threads(1)
        check_config(config, directory, cpu=target.type == "cpu")
        self._tidying = Tidying.of(config)
        bfloat16 = speed.uses_bfloat16(config, target)
        with compat.no_warnings():
            self._parser = _load(config, directory, target)
            speed.quicken(self._parser, page_parser.helpers, bfloat16=bfloat16)
        self.description = "pero-ocr 0.7.0, bfloat16" if bfloat16 else "pero-ocr 0.7.0"

    def close(self) -> None:
        self._parser = None

    def process(self, work: EngineInput) -> EngineOutput:
        """Layout, text or both, as the stage's configuration says; PageError when pero-ocr fails."""
        if work.image is None:
            raise PageError("the pero-ocr engine needs the page's image: send it along", permanent=True)
        try:
            with torch.inference_mode(), np.errstate(all="ignore"), compat.no_warnings():
                return _Run(self._parser, work, work.image).finish(self._tidying)
        except PeroWorkerError:
            raise
        except torch.AcceleratorError as error:
            raise TransientError(f"the GPU failed: {error}") from error
        except Exception as error:  # whatever pero-ocr stumbles over concerns this page alone
            raise PageError(f"pero-ocr failed on this page: {type(error).__name__}: {error}") from error


class _Run:
    """The steps of one page."""

    def __init__(self, parser: Any, work: EngineInput, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        compat.forget_last_page(parser)
        self.parser = parser
        self.work = work
        self.image = image
        self.page = replace(work.page, width=width, height=height) if work.page else Page(work.name, width, height)
        self.layout = convert.to_layout(self.page)
        self.rails: dict[int, Rails] = {}
        self.seconds: dict[str, float] = {}

    def finish(self, tidying: Tidying) -> EngineOutput:
        parser = self.parser
        if parser.run_layout_parser and min(self.image.shape[:2]) >= MIN_SIDE:
            with self._phase("layout"):
                for step in parser.layout_parsers:
                    self.layout = step.process_page(self.image, self.layout)
        if parser.run_line_cropper:
            with self._phase("crop"):
                self._crop()
        if parser.run_ocr:
            with self._phase("ocr"):
                self._recognise()
        if parser.run_decoder:
            with self._phase("decode"):
                self._decode()
        with self._phase("words"):
            words = self._words()
        page = tidying(convert.from_layout(self.layout, self.page, words))
        logits = self.layout.save_logits_bytes() if parser.run_ocr else None
        return EngineOutput(page=page, logits=logits, seconds=self.seconds)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def _crop(self) -> None:
        cropper = self.parser.line_cropper.crop_engine
        for line in self.layout.lines_iterator():
            try:
                grid = _grid(cropper, line)
                line.crop = cropper.fast_remap(self.image, grid)
                self.rails[id(line)] = Rails(grid[0], grid[-1])
            except Exception as error:
                # pero-ocr reads a line that cannot be cropped as empty, too.
                logger.debug("line %s cannot be cropped: %s", line.id, error)
                line.crop = np.zeros((cropper.line_height, 32, 3), np.uint8)

    def _recognise(self) -> None:
        recogniser = self.parser.ocr.ocr_engine
        lines = list(self.layout.lines_iterator())
        usual = recogniser.max_input_horizontal_pixels
        # A line wider than the usual batch would be cut off: it goes alone, in a batch of its own width.
        long = [line for line in lines if self.parser.provides_ctc_logits and _padded(recogniser, line) > usual]
        alone = {id(line) for line in long}
        batches = [[line for line in lines if id(line) not in alone], *([line] for line in long)]
        for batch in batches:
            if not batch:
                continue
            recogniser.max_input_horizontal_pixels = max(usual, *(_padded(recogniser, line) for line in batch))
            try:
                results = recogniser.process_lines([line.crop for line in batch])
            finally:
                recogniser.max_input_horizontal_pixels = usual
            for line, text, logits, coords in zip(batch, *results, strict=True):
                line.transcription, line.logits, line.logit_coords = text, logits, coords
                line.characters = recogniser.characters

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
        """Sets the lines' confidences as pero-ocr does, drops the unsure lines, and returns words by line object."""
        known = {line.id: line for line in self.page.lines()}
        threshold = self.parser.filter_confident_lines_threshold
        words: dict[int, tuple[Word, ...]] = {}
        for region in self.layout.regions:
            for line in region.lines:
                if line.logits is not None:
                    frames = Frames.of(line.logits)
                    line.transcription_confidence = frames.confidence()
                    words[id(line)] = self._words_of(line, frames)
                elif line.id in known and known[line.id].text == line.transcription:
                    words[id(line)] = known[line.id].words
            if threshold > 0:
                region.lines = [line for line in region.lines if (line.transcription_confidence or 0.0) > threshold]
        return words

    def _words_of(self, line: Any, frames: Frames) -> tuple[Word, ...]:
        ctc = self.parser.provides_ctc_logits or not self.parser.run_ocr
        if not ctc or not line.transcription or line.characters is None or line.logit_coords is None:
            return ()
        rails = self.rails.get(id(line)) or _rails(line)
        if rails is None:
            return ()
        width = None if line.crop is None else line.crop.shape[1]
        size = (self.page.width, self.page.height)
        return words_of(line.transcription, frames, line.characters, tuple(line.logit_coords), rails, size, width)


def _padded(recogniser: Any, line: Any) -> int:
    """The width of the line's batch in pixels."""
    return int(math.ceil(line.crop.shape[1] / 32) * 32 + 2 * recogniser.line_padding_px)


def _grid(cropper: Any, line: Any) -> Any:
    """The page coordinates (height, width, 2) of each pixel of the line's crop; ValueError when it has none."""
    steps = np.diff(np.asarray(line.baseline), axis=0)
    scale = cropper.line_height / (sum(line.heights) * cropper.scale)
    if np.hypot(steps[:, 0], steps[:, 1]).sum() * scale > WIDEST_CROP:
        raise ValueError("it is too long for its height")
    return cropper.get_crop_inputs(line.baseline, line.heights, cropper.line_height)


def _rails(line: Any) -> Rails | None:
    """The edges of a line that this stage did not crop."""
    try:
        grid = _grid(page_parser.cropper.EngineLineCropper(line_height=32, poly=2), line)
    except Exception as error:
        logger.debug("line %s has no geometry: %s", line.id, error)
        return None
    return Rails(grid[0], grid[-1]) if grid.shape[1] else None


def _device(name: str) -> Any:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise StageError(f"there is no device {name}: use cpu or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise StageError(f"torch finds no GPU for device {name}: use cpu, or install torch with CUDA")
    return device


def _load(config: ConfigParser, directory: Path, device: Any) -> Any:
    try:
        if config["PAGE_PARSER"].getboolean("RUN_DECODER", fallback=False):
            compat.import_decoding()
        return page_parser.PageParser(config, device=device, config_path=str(directory))
    except ImportError as error:
        raise StageError(
            f"pero-ocr lacks a package ({error}): install it with: pip install 'pero-worker[pero]'"
        ) from error
    except KeyError as error:
        raise StageError(f"config.ini or the OCR description lacks {error}") from error
    except Exception as error:  # torch and pero-ocr raise all kinds on damaged files
        first_line = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise StageError(f"the stage in {directory} cannot be loaded: {first_line}") from error
