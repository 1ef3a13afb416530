from __future__ import annotations

import json
from configparser import ConfigParser
from pathlib import Path

import pytest

from pero_worker.engines.pero.check import check_config
from pero_worker.errors import StageError

STAGE = {
    "PAGE_PARSER": {"RUN_LAYOUT_PARSER": "yes", "RUN_LINE_CROPPER": "yes", "RUN_OCR": "yes"},
    "LAYOUT_PARSER_1": {
        "METHOD": "LAYOUT_CNN",
        "MODEL_PATH": "./net.pt",
        "DOWNSAMPLE": "4",
        "DETECTION_THRESHOLD": "0.3",
    },
    "LINE_CROPPER": {"INTERP": "2", "LINE_SCALE": "1", "LINE_HEIGHT": "40"},
    "OCR": {"OCR_JSON": "ocr.json"},
}
DESCRIPTION = {
    "line_px_height": 40,
    "line_vertical_scale": 1.0,
    "checkpoint": "ocr.pt",
    "characters": ["a"],
    "net_name": "n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.pt").write_bytes(b"x")
    (tmp_path / "ocr.pt").write_bytes(b"x")
    (tmp_path / "ocr.json").write_text(json.dumps(DESCRIPTION))
    return tmp_path


def config() -> ConfigParser:
    parser = ConfigParser()
    parser.read_dict(STAGE)
    return parser


def test_a_sound_stage_passes(folder: Path) -> None:
    check_config(config(), folder, cpu=True)
    (folder / "ocr.pt").rename(folder / "ocr.pt.cpu")
    check_config(config(), folder, cpu=True)
    with pytest.raises(StageError, match=r"ocr\.pt is missing"):
        check_config(config(), folder, cpu=False)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("LAYOUT_PARSER_1", "METHOD", "MAGIC", "MAGIC"),
        ("LAYOUT_PARSER_1", "MODEL_PATH", "gone.pt", r"gone\.pt"),
        ("LINE_CROPPER", "LINE_HEIGHT", "48", "must be 40"),
        ("WORKER", "SORT_LINES", "perhaps", "SORT_LINES must be yes or no"),
        ("WORKER", "LEAST_CONFIDENCE", "much", "much is no number"),
        ("WORKER", "CONFIDENCE", "0.5:0.4 0.4:0.5", "do not rise"),
        ("READER_2", "UNSURE", "0.9", "lacks OCR_JSON"),
        ("READER_2", "OCR_JSON", "gone.json", r"gone\.json"),
        ("READER_2", "ENGINE", "dummy", "dummy is not pero or rapidocr"),
        ("OCR", "OCR_JSON", "gone.json", r"gone\.json"),
        ("PAGE_PARSER", "RUN_OCR", "perhaps", "yes or no"),
        ("PAGE_PARSER", "RUN_LINE_CROPPER", "no", "RUN_LINE_CROPPER"),
        ("PAGE_PARSER", "RUN_DECODER", "yes", "DECODER"),
    ],
)
def test_a_wrong_value_is_named(folder: Path, section: str, key: str, value: str, message: str) -> None:
    broken = config()
    broken.read_dict({section: {key: value}})
    with pytest.raises(StageError, match=message):
        check_config(broken, folder, cpu=True)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("LAYOUT_PARSER_1", "METHOD"),
        ("LAYOUT_PARSER_1", "DOWNSAMPLE"),
        ("LINE_CROPPER", "INTERP"),
        ("OCR", "OCR_JSON"),
    ],
)
def test_a_missing_key_is_named(folder: Path, section: str, key: str) -> None:
    broken = config()
    del broken[section][key]
    with pytest.raises(StageError, match=key):
        check_config(broken, folder, cpu=True)


@pytest.mark.parametrize("section", ["PAGE_PARSER", "LINE_CROPPER", "OCR"])
def test_a_missing_section_is_named(folder: Path, section: str) -> None:
    broken = config()
    broken.remove_section(section)
    with pytest.raises(StageError, match=section):
        check_config(broken, folder, cpu=True)


@pytest.mark.parametrize(
    ("key", "value"), [("STRETCH_LINES", "max"), ("HEIGHTS_FROM_REGIONS", "yes"), ("STRETCH_LINES", None)]
)
def test_methods_that_pero_ocr_breaks_are_refused(folder: Path, key: str, value: str | None) -> None:
    broken = config()
    options = {"METHOD": "LINE_POSTPROCESSING", "STRETCH_LINES": "0"} | ({key: value} if value else {})
    if value is None:
        del options[key]
    broken.read_dict({"LAYOUT_PARSER_2": options})
    with pytest.raises(StageError, match=key):
        check_config(broken, folder, cpu=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[]", "lacks"), ('{"line_px_height": 40}', "checkpoint"), ("\ud800", "not JSON")],
)
def test_a_broken_description_is_named(folder: Path, content: str, message: str) -> None:
    (folder / "ocr.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(StageError, match=message):
        check_config(config(), folder, cpu=True)


def test_characters_must_be_strings(folder: Path) -> None:
    (folder / "ocr.json").write_text(json.dumps(DESCRIPTION | {"characters": [1]}))
    with pytest.raises(StageError, match="characters"):
        check_config(config(), folder, cpu=True)
