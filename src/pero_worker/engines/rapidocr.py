"""RapidOCR (PP-OCR weights on ONNX Runtime): offline, one thread, without its classifier of line directions."""

from __future__ import annotations

import hashlib
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pero_worker.engines.reading_order import Box, reading_order
from pero_worker.errors import StageError
from pero_worker.page import Line, Page, Polygon, Region
from pero_worker.ports import EngineInput, EngineOutput

# The weights inside the wheel of rapidocr 3.10.0. The classifier turns good lines upside down: it is named only
# because the package would fetch it otherwise, and never used.
_MODELS = {
    "Det": ("PP-OCRv6_det_small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"),
    "Rec": ("PP-OCRv6_rec_small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"),
    "Cls": ("ch_ppocr_mobile_v2.0_cls_mobile.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
}
_LEAST_SIDE = 16
_BASELINE = 0.2
"""Quadrilaterals have no baseline: it is taken to run a fifth of the height above the lower edge."""


def load(config: ConfigParser, directory: Path, device: str) -> RapidOcrEngine:
    """StageError: rapidocr is not installed, or its weights are not those of the pinned release."""
    try:
        import onnxruntime  # noqa: F401, PLC0415 - rapidocr imports it only on the first page
        import rapidocr  # noqa: PLC0415
        from rapidocr.utils import download_file, process_img  # noqa: PLC0415
    except ImportError as error:
        raise StageError(f"rapidocr cannot be imported ({error}): pip install 'pero-worker[rapidocr]'") from error

    def refuse(*_: object, **__: object) -> None:
        raise StageError("rapidocr wanted to download a model; pero-worker never lets it")

    download_file.DownloadFile.run = refuse
    parameters: dict[str, Any] = {
        "Global.use_cls": False,
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.onnxruntime.use_cuda": device != "cpu",
        "EngineConfig.onnxruntime.cuda_ep_cfg.device_id": int(device.partition(":")[2] or 0),
        "Rec.rec_batch_num": 1,
    }
    for part, (name, digest) in _MODELS.items():
        parameters[f"{part}.model_path"] = str(_verified(Path(rapidocr.__file__).parent / "models" / name, digest))
    from rapidocr.ch_ppocr_det import utils as detector  # noqa: PLC0415

    impossible = (process_img.ResizeImgError, detector.ResizeImgError)
    return RapidOcrEngine(rapidocr.RapidOCR(params=parameters), impossible)


def _verified(path: Path, digest: str) -> Path:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StageError(f"rapidocr's model {path.name} is missing: pip install --force-reinstall rapidocr") from error
    if found != digest:
        raise StageError(f"rapidocr's model {path.name} is not that of rapidocr 3.10.0: install that version")
    return path


class RapidOcrEngine:
    """`ports.Engine`: layout and text in one; lines without words."""

    needs_image = True

    def __init__(self, reader: Any, impossible: tuple[type[Exception], ...]) -> None:
        self._reader = reader
        self._impossible = impossible
        self.description = f"rapidocr {version('rapidocr')}"

    def process(self, work: EngineInput) -> EngineOutput:
        image = work.image
        assert image is not None, "needs_image"  # noqa: S101
        height, width = image.shape[:2]
        empty = Page(work.name, width, height)
        if min(width, height) < _LEAST_SIDE:
            return EngineOutput(empty)
        try:
            # The flags on every call: those of an earlier one would stay set.
            found = self._reader(image, use_det=True, use_cls=False, use_rec=True)
        except self._impossible:  # a picture of extreme shape has no text
            return EngineOutput(empty)
        seconds = {
            phase: float(spent)
            for phase, spent in zip(("detect", "classify", "recognise"), found.elapse_list, strict=False)
            if spent is not None
        }
        if getattr(found, "boxes", None) is None or found.txts is None:
            return EngineOutput(empty, seconds=seconds)
        return EngineOutput(_page(empty, found), seconds=seconds)

    def close(self) -> None:
        self._reader = None


def _page(page: Page, found: Any) -> Page:
    quads = [np.asarray(box, float) for box in found.boxes]
    boxes = [Box(*quad.min(axis=0), *quad.max(axis=0)) for quad in quads]
    regions = []
    for number, group in enumerate(reading_order(boxes)):
        lines = tuple(
            _line(f"r{number:03d}-l{place:03d}", quads[i], found.txts[i], float(found.scores[i]))
            for place, i in enumerate(group)
        )
        left, top = np.min([quads[i].min(axis=0) for i in group], axis=0)
        right, bottom = np.max([quads[i].max(axis=0) for i in group], axis=0)
        outline = _points([[left, top], [right, top], [right, bottom], [left, bottom]])
        regions.append(Region(f"r{number:03d}", outline, lines))
    return Page(page.name, page.width, page.height, tuple(regions))


def _line(name: str, quad: Any, text: str, score: float) -> Line:
    top_left, top_right, bottom_right, bottom_left = quad
    start = bottom_left + (top_left - bottom_left) * _BASELINE
    end = bottom_right + (top_right - bottom_right) * _BASELINE
    height = (np.linalg.norm(top_left - bottom_left) + np.linalg.norm(top_right - bottom_right)) / 2
    heights = float(height * (1 - _BASELINE)), float(height * _BASELINE)
    return Line(name, _points([start, end]), _points(quad), heights, text, min(1.0, max(0.0, score)))


def _points(array: Any) -> Polygon:
    return tuple((float(x), float(y)) for x, y in array)
