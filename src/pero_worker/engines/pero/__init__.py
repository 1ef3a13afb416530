"""The engine that runs PERO OCR (pero-ocr 0.7.0). Importing this package is cheap; only `load` imports torch."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING

from pero_worker.errors import StageError

if TYPE_CHECKING:
    from pero_worker.ports import Engine


def load(config: ConfigParser, directory: Path, device: str) -> Engine:
    """Loads a pero-ocr stage whose relative paths start at `directory`, on `device` ('cpu', 'cuda:0').

    Raises `StageError` if a package, a key of the configuration or a model file is missing or unusable.
    """
    try:
        from pero_worker.engines.pero import engine  # noqa: PLC0415 - torch costs seconds
    except ImportError as error:
        raise StageError(
            f"pero-ocr cannot be imported ({error}): install it with: pip install 'pero-worker[pero]'"
        ) from error
    return engine.PeroEngine(config, directory, device)
