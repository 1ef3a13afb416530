"""Checks a stage's configuration before anything is loaded, so that a mistake is named rather than run into."""

from __future__ import annotations

import json
from configparser import ConfigParser, SectionProxy
from pathlib import Path
from typing import Any

from pero_worker.engines.pero import readers, tidy
from pero_worker.errors import StageError

LAYOUT_SECTIONS = tuple(f"LAYOUT_PARSER_{number}" for number in range(1, 10))

_LAYOUT_KEYS: dict[str, tuple[str, ...]] = {
    "REGION_WHOLE_PAGE": (),
    "REGION_SIMPLE_THRESHOLD": (),
    "LINES_SIMPLE_THRESHOLD": ("ADAPTIVE_THRESHOLD", "BLOCK_SIZE", "MINIMUM_LENGTH", "IGNORED_BORDER_PIXELS"),
    "LAYOUT_CNN": ("MODEL_PATH", "DOWNSAMPLE", "DETECTION_THRESHOLD"),
    "LINE_FILTER": (),
    "LINE_POSTPROCESSING": ("STRETCH_LINES",),
    "LAYOUT_POSTPROCESSING": (),
    "REGION_SORTER_NAIVE": (),
    "REGION_SORTER_SMART": (),
}
_OCR_JSON_KEYS = ("line_px_height", "line_vertical_scale", "checkpoint", "characters", "net_name")
_MAX_JSON_BYTES = 16 * 2**20


def check_config(config: ConfigParser, directory: Path, *, cpu: bool) -> None:
    """Raises `StageError`, which names the section, key or file, for anything that pero-ocr would stumble over.

    `cpu` says that models run on a CPU, where MODEL.cpu may stand in for a missing MODEL.
    """
    steps = _section(config, "PAGE_PARSER")
    if _flag(steps, "RUN_LAYOUT_PARSER"):
        for name in LAYOUT_SECTIONS:
            if config.has_section(name):
                _check_layout(config[name], directory, cpu)
    cropped = _flag(steps, "RUN_LINE_CROPPER")
    if cropped:
        _require(_section(config, "LINE_CROPPER"), "INTERP", "LINE_SCALE", "LINE_HEIGHT")
    if _flag(steps, "RUN_OCR"):
        if not cropped:
            raise StageError("config.ini: RUN_OCR needs RUN_LINE_CROPPER = yes in the same stage")
        _check_ocr(config, directory, cpu)
        for name in readers.SECTIONS:
            if config.has_section(name):
                _check_reader(config[name], directory, cpu)
    if _flag(steps, "RUN_DECODER"):
        _require(_section(config, "DECODER"), "TYPE")
        _ocr_json(_section(config, "OCR"), directory)
    if config.has_section(tidy.SECTION):
        for key in (tidy.SORT, tidy.DROP, tidy.PARAGRAPHS, tidy.SMALL):
            _flag(config[tidy.SECTION], key)
        _number(config[tidy.SECTION], tidy.LEAST)
        _check_confidence(config[tidy.SECTION])


def _check_layout(section: SectionProxy, directory: Path, cpu: bool) -> None:
    _require(section, "METHOD")
    method = section["METHOD"]
    if method not in _LAYOUT_KEYS:
        raise StageError(f"config.ini: [{section.name}] METHOD = {method} is not one of {', '.join(_LAYOUT_KEYS)}")
    _require(section, *_LAYOUT_KEYS[method])
    if method == "LINE_POSTPROCESSING":
        if section["STRETCH_LINES"] == "max":
            raise StageError(
                f"config.ini: [{section.name}] STRETCH_LINES = max does not work in pero-ocr 0.7.0: give a number"
            )
        if _flag(section, "HEIGHTS_FROM_REGIONS"):
            raise StageError(
                f"config.ini: [{section.name}] HEIGHTS_FROM_REGIONS does not work in pero-ocr 0.7.0: set it to no"
            )
    if method == "LAYOUT_CNN" or (method == "LINE_FILTER" and _flag(section, "FILTER_DIRECTIONS")):
        _require(section, "MODEL_PATH")
        _check_model(directory / section["MODEL_PATH"], cpu or _flag(section, "USE_CPU"))


def _check_ocr(config: ConfigParser, directory: Path, cpu: bool) -> None:
    section = _section(config, "OCR")
    path, description = _ocr_json(section, directory)
    height = description["line_px_height"]
    if config["LINE_CROPPER"].get("LINE_HEIGHT") != str(height):
        raise StageError(f"config.ini: [LINE_CROPPER] LINE_HEIGHT must be {height}, the line_px_height of {path.name}")
    _check_model(path.parent / str(description["checkpoint"]), cpu or _flag(section, "USE_CPU"))


def _check_reader(section: SectionProxy, directory: Path, cpu: bool) -> None:
    engine = section.get(readers.ENGINE, "pero")
    if engine == "pero":
        path, description = _ocr_json(section, directory)
        _check_model(path.parent / str(description["checkpoint"]), cpu)
    elif engine != readers.PPOCR:
        raise StageError(f"config.ini: [{section.name}] {readers.ENGINE} = {engine} is not pero or {readers.PPOCR}")
    _number(section, readers.UNSURE)
    _check_confidence(section)


def _check_confidence(section: SectionProxy) -> None:
    try:
        readers.calibration_of(section)
    except ValueError as error:
        raise StageError(f"config.ini: [{section.name}] {readers.CONFIDENCE}: {error}") from error


def _ocr_json(section: SectionProxy, directory: Path) -> tuple[Path, dict[str, Any]]:
    _require(section, "OCR_JSON")
    path = directory / section["OCR_JSON"]
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise StageError(f"{path} is too large for the description of an OCR model")
        description = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StageError(f"the OCR description {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StageError(f"{path} is not JSON in UTF-8: {error}") from error
    missing = [key for key in _OCR_JSON_KEYS if not isinstance(description, dict) or key not in description]
    if missing:
        raise StageError(f"{path} lacks {', '.join(missing)}")
    characters = description["characters"]
    if not isinstance(characters, list) or not all(isinstance(character, str) for character in characters):
        raise StageError(f"{path}: characters must be a list of strings")
    return path, description


def _check_model(path: Path, cpu: bool) -> None:
    if not path.is_file() and not (cpu and path.with_name(path.name + ".cpu").is_file()):
        raise StageError(f"the model file {path} is missing: put it there or correct the configuration")


def _section(config: ConfigParser, name: str) -> SectionProxy:
    if not config.has_section(name):
        raise StageError(f"config.ini has no section [{name}]")
    return config[name]


def _require(section: SectionProxy, *keys: str) -> None:
    for key in keys:
        if key not in section:
            raise StageError(f"config.ini: [{section.name}] lacks {key}")


def _flag(section: SectionProxy, key: str) -> bool:
    try:
        return bool(section.getboolean(key, fallback=False))
    except ValueError as error:
        raise StageError(f"config.ini: [{section.name}] {key} must be yes or no") from error


def _number(section: SectionProxy, key: str) -> None:
    try:
        section.getfloat(key, raw=True, fallback=0.0)
    except ValueError as error:
        raise StageError(f"config.ini: [{section.name}] {key} = {section.get(key, raw=True)} is no number") from error
