"""Makes a PageParser faster, with the same results apart from rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from pero_worker.engines.pero.int8 import in_int8, ranges_of
from pero_worker.engines.pero.nearby import look_nearby
from pero_worker.engines.pero.precision import Precision

Array = NDArray[Any]

_LARGE_PIXELS = 1_500_000
"""Of a layout network's input; the maps of a larger one may take more memory than a worker should."""
_LAYERS = frozenset({"aten::conv1d", "aten::conv2d", "aten::_convolution", "aten::linear"})


def quicken(parser: Any, layout_helpers: Any, precision: Precision) -> None:
    """Prepares the networks of a loaded PageParser and replaces slow helpers of its layout engine."""
    layout_helpers.alpha_shape = alpha_shape
    for layout in getattr(parser, "layout_parsers", ()):
        engine: Any = getattr(layout, "engine", None)
        net: Any = getattr(engine, "parsenet", None)
        if net is not None:
            look_nearby(layout_helpers, type(engine))
            net.net = _prepared(net.net, half=precision.bfloat16, half_if_large=precision.saves_memory)
    quicken_recogniser(getattr(parser.ocr, "ocr_engine", None), precision)


def quicken_recogniser(recogniser: Any, precision: Precision) -> None:
    """Does the same as `quicken` for a recogniser of pero-ocr; others are left alone."""
    if hasattr(recogniser, "model") and recogniser.embed_id is None:
        ranges = ranges_of(recogniser.config) if precision.int8 else ()
        recogniser.model = _prepared(recogniser.model, half=precision.bfloat16, ranges=ranges)


def _prepared(
    model: Any, *, half: bool, half_if_large: bool = False, ranges: Sequence[float] = ()
) -> Callable[[Any], Any]:
    # Weights take the memory layout that the pixels already have, and batch normalisation is folded into the
    # convolutions: 13 % off the time of OCR on one core, up to 25 % off that of layout. Logits move by 2e-5, line
    # heights by 0.01 pixels. (A recogniser with an embedding needs its attributes, which freezing removes.)
    frozen: Callable[[Any], Any] = torch.jit.freeze(model.to(memory_format=torch.channels_last))
    if ranges:
        in_int8(frozen, ranges)
    if half or half_if_large:
        return _in_bfloat16(frozen, min_pixels=0 if half else _LARGE_PIXELS)
    return frozen


def _in_bfloat16(frozen: Any, *, min_pixels: int) -> Callable[[Any], Any]:
    _end_in_float32(frozen.graph)

    def forward(pixels: Any) -> Any:
        if pixels.shape[-1] * pixels.shape[-2] < min_pixels:
            return frozen(pixels)
        with torch.autocast(pixels.device.type, torch.bfloat16):
            result = frozen(pixels)
        return tuple(part.float() for part in result) if isinstance(result, tuple) else result.float()

    return forward


def _end_in_float32(graph: Any) -> None:
    # What follows the last layer is cheap, and its result is compared: a sigmoid in bfloat16 has only 600 values, so
    # neighbouring rows of a baseline tie where layout looks for the highest one (CER on real pages: +0.2 %).
    pairs = [(node, after) for node, after in pairwise(graph.nodes()) if node.kind() in _LAYERS]
    if not pairs:
        return
    layer, after = pairs[-1]
    graph.setInsertPoint(after)
    dtype, no, none = (graph.insertConstant(value) for value in (torch.float32, False, None))
    cast = graph.insertNode(graph.create("aten::to", [layer.output(), dtype, no, no, none], 1))
    layer.output().replaceAllUsesAfterNodeWith(cast, cast.output())


def alpha_shape(points: Array, alpha: float) -> Any:
    """Returns the union of the Delaunay triangles of `points` (n, 2) whose circumscribed radius is at most `alpha`.

    pero-ocr builds its edges point by point in Python: 0.2 s for a page of 90 lines, against 0.05 s here.
    """
    if len(points) < 4:
        return shapely.convex_hull(shapely.multipoints(points))
    triangles = points[Delaunay(points).simplices]
    sides = np.hypot(*np.moveaxis(triangles - np.roll(triangles, -1, axis=1), 2, 0))
    half = sides.sum(axis=1) / 2
    area = np.sqrt(half * np.prod(half[:, np.newaxis] - sides, axis=1))
    kept = triangles[np.prod(sides, axis=1) / (4 * (area + 0.0001)) <= alpha]
    edges = np.unique(np.concatenate([kept[:, (0, 1)], kept[:, (1, 2)], kept[:, (2, 0)]]), axis=0)
    return shapely.union_all(shapely.get_parts(shapely.polygonize(shapely.linestrings(edges))))
