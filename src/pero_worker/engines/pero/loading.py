"""Loads the parts of a pero-ocr stage: its device, its networks, its recognisers."""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pero_worker.engines.pero import compat, readers, tidy
from pero_worker.engines.pero.batches import ReadingDesk
from pero_worker.engines.pero.calibration import Calibration
from pero_worker.engines.pero.devices import batch_pixels, width_step
from pero_worker.engines.pero.ppocr_reader import PpOcr
from pero_worker.engines.pero.precision import Precision
from pero_worker.engines.pero.readers import SECTIONS, LineReader, calibration_of, description_of, unsure_of
from pero_worker.engines.pero.recognition import Recognition
from pero_worker.engines.pero.speed import quicken_recogniser
from pero_worker.errors import StageError

page_parser = compat.import_pero()


def device_of(name: str) -> Any:
    """Returns the device of that name. Raises `StageError` if there is none."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise StageError(f"there is no device {name}: use cpu or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise StageError(f"torch finds no GPU for device {name}: use cpu, or install torch with CUDA")
    return device


def readers_of(
    parser: Any, config: ConfigParser, directory: Path, device: Any, precision: Precision
) -> list[LineReader]:
    """Returns the parser's recogniser, and those that pero-ocr knows nothing about."""
    if not parser.run_ocr:
        return []
    worker = config[tidy.SECTION] if config.has_section(tidy.SECTION) else None
    calibration = calibration_of(worker) if worker is not None else Calibration()
    own = parser.ocr.ocr_engine
    found = [LineReader(own, calibration, desk=_desk(own) if parser.provides_ctc_logits else None)]
    for section in (config[name] for name in SECTIONS if config.has_section(name)):
        if section.get(readers.ENGINE) == readers.PPOCR:
            recogniser: Any = PpOcr.load(str(device))
            desk = None
        else:
            recogniser = page_parser.PytorchEngineLineOCR(str(description_of(section, directory)), device)
            quicken_recogniser(recogniser, precision)
            desk = _desk(recogniser)
        found.append(LineReader(recogniser, calibration_of(section), unsure_of(section), desk=desk))
    # The other readers' lines are made smaller, which loses less than making them larger.
    parser.line_cropper.crop_engine.line_height = max(reader.height for reader in found)
    return found


def _desk(recogniser: Any) -> ReadingDesk:
    device = recogniser.device
    return ReadingDesk(forward=Recognition(recogniser), max_pixels=batch_pixels(device), step=width_step(device))


@contextmanager
def loading(directory: Path) -> Iterator[None]:
    """Turns whatever goes wrong inside it into a `StageError`."""
    try:
        yield
    except ImportError as error:
        raise StageError(
            f"pero-ocr lacks a package ({error}): install it with: pip install 'pero-worker[pero]'"
        ) from error
    except KeyError as error:
        raise StageError(f"config.ini or the OCR description lacks {error}") from error
    except Exception as error:  # torch and pero-ocr raise all kinds on damaged files
        first_line = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise StageError(f"the stage in {directory} cannot be loaded: {first_line}") from error


def load_parser(config: ConfigParser, directory: Path, device: Any) -> Any:
    """Returns the PageParser of a stage. Raises whatever torch and pero-ocr raise."""
    if config["PAGE_PARSER"].getboolean("RUN_DECODER", fallback=False):
        compat.import_decoding()
    return page_parser.PageParser(config, device=device, config_path=str(directory))
