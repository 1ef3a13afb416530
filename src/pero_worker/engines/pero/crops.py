"""Pictures of lines as pero-ocr's recognisers see them: straight, of one height, cut along the baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

WIDEST_CROP = 32_000
"""Maximum width of a crop, in pixels: OpenCV cannot map a wider image, and pero-ocr reads such a line as empty."""


def line_grid(cropper: Any, line: Any) -> Any:
    """Returns the page coordinates (height, width, 2) of each pixel of the line's crop.

    Raises `ValueError` if it has none.
    """
    steps = np.diff(np.asarray(line.baseline), axis=0)
    scale = cropper.line_height / (sum(line.heights) * cropper.scale)
    if np.hypot(steps[:, 0], steps[:, 1]).sum() * scale > WIDEST_CROP:
        raise ValueError("it is too long for its height")
    return cropper.get_crop_inputs(line.baseline, line.heights, cropper.line_height)
