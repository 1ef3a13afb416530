"""RapidOCR (PP-OCR weights on ONNX Runtime): offline, on one thread, without its line-direction classifier."""

from __future__ import annotations

from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pero_worker.engines import ppocr
from pero_worker.engines.boxes import Box, rows_of
from pero_worker.engines.paragraphs import blocks_of
from pero_worker.engines.quads import Piece, Span, line_of, parted, slope, spans_of
from pero_worker.engines.reading_order import reading_order
from pero_worker.engines.regions import region_of, upright_rules
from pero_worker.engines.rules import rules_in
from pero_worker.errors import StageError
from pero_worker.page import Image, Page, Region
from pero_worker.work import EngineInput, EngineOutput

_MIN_SIDE = 16
_ROTATED = 1.5
"""Boxes at least this many times as high as wide are read from top to bottom, after a quarter turn."""
_SAME_SIZE = 2.0
"""Text in one row is one line, unless one piece is this many times as high as the next (a logo, an initial)."""


def load(config: ConfigParser, directory: Path, device: str) -> RapidOcrEngine:
    """Loads the engine.

    Raises `StageError` if rapidocr is not installed or its weights are not those of the pinned release.
    """
    try:
        import rapidocr  # noqa: PLC0415 - ONNX Runtime costs a second
        from rapidocr.utils import download_file, process_img  # noqa: PLC0415
    except ImportError as error:
        raise StageError(f"rapidocr cannot be imported ({error}): pip install 'pero-worker[rapidocr]'") from error

    def refuse(*_: object, **__: object) -> None:
        raise StageError("rapidocr wanted to download a model; pero-worker never lets it")

    download_file.DownloadFile.run = refuse
    parameters: dict[str, Any] = {
        "Global.use_cls": False,
        "Global.return_word_box": True,
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.onnxruntime.use_cuda": device != "cpu",
        "EngineConfig.onnxruntime.cuda_ep_cfg.device_id": int(device.partition(":")[2] or 0),
        "Rec.rec_batch_num": 1,
    }
    for part in ppocr.MODELS:
        parameters[f"{part}.model_path"] = str(ppocr.model(part))
    from rapidocr.ch_ppocr_det import utils as detector  # noqa: PLC0415

    impossible = (process_img.ResizeImgError, detector.ResizeImgError)
    reader = rapidocr.RapidOCR(params=parameters)
    # Its word boxes are in whole pixels and out of step with their scores, so we use the columns of the letters.
    reader.calc_word_boxes = lambda images, boxes, recognised: recognised.word_results
    paragraphs = config.getboolean("WORKER", "FIND_PARAGRAPHS", raw=True, fallback=False)
    return RapidOcrEngine(reader, impossible, find_paragraphs=paragraphs)


class RapidOcrEngine:
    """A `ports.Engine` for layout and text in one."""

    needs_image = True
    doubtful_below = 0.85
    """It is surer than this of nearly everything that stands upright, and less sure of the rest."""

    def __init__(self, reader: Any, impossible: tuple[type[Exception], ...], *, find_paragraphs: bool = False) -> None:
        self._find_paragraphs = find_paragraphs
        self._reader = reader
        self._impossible = impossible
        self.description = f"rapidocr {version('rapidocr')}"

    def process(self, work: EngineInput) -> EngineOutput:
        image = work.image
        assert image is not None, "needs_image"  # noqa: S101
        height, width = image.shape[:2]
        empty = Page(name=work.name, width=width, height=height)
        if min(width, height) < _MIN_SIDE:
            return EngineOutput(page=empty)
        try:
            # The flags are given on every call, because those of an earlier one would stay set.
            found = self._reader(image, use_det=True, use_cls=False, use_rec=True, return_word_box=True)
        except self._impossible:  # a picture of extreme shape has no text
            return EngineOutput(page=empty)
        if getattr(found, "boxes", None) is None or getattr(found, "txts", None) is None:
            return EngineOutput(page=empty)
        seconds = {
            phase: float(spent)
            for phase, spent in zip(("detect", "classify", "recognise"), found.elapse_list, strict=False)
            if spent is not None
        }
        pieces = _pieces(found)
        regions = _paragraphs(pieces, image) if self._find_paragraphs else _regions(pieces)
        return EngineOutput(page=Page(name=work.name, width=width, height=height, regions=regions), seconds=seconds)

    def close(self) -> None:
        self._reader = None


def _pieces(found: Any) -> list[Piece]:
    infos = found.word_results
    if len(infos) != len(found.txts):
        infos = [None] * len(found.txts)
    return [
        Piece(corners=_as_read(np.asarray(box, float)), text=text, confidence=float(score), spans=_spans(text, info))
        for box, text, score, info in zip(found.boxes, found.txts, found.scores, infos, strict=True)
    ]


def _as_read(quad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the corners from where reading begins: rapidocr turns tall boxes to the left before it reads them."""
    width = max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3]))
    height = max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2]))
    return np.roll(quad, -1, axis=0) if height >= _ROTATED * width else quad


def _spans(text: str, info: Any) -> tuple[Span, ...]:
    columns = [column for word in getattr(info, "word_cols", ()) for column in word]
    return spans_of(text, columns, getattr(info, "confs", ()), float(getattr(info, "line_txt_len", 0)))


def _straight(pieces: list[Piece]) -> list[Box]:
    """Returns the pieces' boxes on the page turned upright."""
    angle = -slope(pieces)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return [_box_around(piece.corners @ turn.T) for piece in pieces]


def _box_around(corners: NDArray[np.float64]) -> Box:
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return Box(left=left, top=top, right=right, bottom=bottom)


def _paragraphs(pieces: list[Piece], image: Image) -> tuple[Region, ...]:
    if not pieces:
        return ()
    rules = rules_in(image, median(piece.height for piece in pieces))
    pieces = [part for piece in pieces for part in parted(piece, rules)]
    boxes = _straight(pieces)
    blocks = blocks_of(boxes, [piece.text for piece in pieces], upright_rules(rules, -slope(pieces)))
    regions = []
    for number, block in enumerate(blocks):
        parts = [part for row in rows_of(boxes, block.lines) for part in _parts([pieces[i] for i in row])]
        lines = [line_of(f"r{number:03d}-l{place:03d}", part) for place, part in enumerate(parts)]
        regions.append(region_of(number, block.kind, lines))
    return tuple(regions)


def _regions(pieces: list[Piece]) -> tuple[Region, ...]:
    groups = reading_order(_straight(pieces))
    regions = []
    for number, rows in enumerate(groups):
        name = f"r{number:03d}"
        parts = [part for row in rows for part in _parts([pieces[i] for i in row])]
        corners = np.concatenate([piece.corners for part in parts for piece in part])
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        lines = tuple(line_of(f"{name}-l{place:03d}", part) for place, part in enumerate(parts))
        regions.append(
            Region(id=name, polygon=((left, top), (right, top), (right, bottom), (left, bottom)), lines=lines)
        )
    return tuple(regions)


def _parts(row: list[Piece]) -> list[list[Piece]]:
    """Returns the lines in a row: text of about the same size is one line, however wide its gaps."""
    parts = [row[:1]]
    for piece in row[1:]:
        last = parts[-1][-1]
        if max(piece.height, last.height) < _SAME_SIZE * min(piece.height, last.height):
            parts[-1].append(piece)
        else:
            parts.append([piece])
    return parts
