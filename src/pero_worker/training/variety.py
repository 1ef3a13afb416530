"""Varies a line as another scan and another layout would."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_BESIDE = 4
"""Columns of paper added next to a crop before it is transformed."""


def varied(rng: np.random.Generator, crop: Pixels) -> Pixels:
    """Returns the crop (height, width, 3) with other letter heights, slope, slant, margins, ink and contrast; its own
    height stays."""
    beside = np.percentile(crop.reshape(-1, 3), 75, axis=0).astype(np.uint8)  # no streak from a letter at the edge
    crop = np.asarray(
        cv2.copyMakeBorder(crop, 0, 0, _BESIDE, _BESIDE, cv2.BORDER_CONSTANT, value=tuple(map(int, beside))), np.uint8
    )
    height, width = crop.shape[:2]
    zoom = rng.uniform(0.86, 1.16) if rng.random() < 0.7 else 1.0
    stretch = zoom * (rng.uniform(0.93, 1.08) if rng.random() < 0.5 else 1.0)
    left, right = (int(rng.integers(0, 14)) if rng.random() < 0.7 else int(rng.integers(0, 70)) for _ in range(2))
    slant = rng.normal(0, 0.06) if rng.random() < 0.4 else 0.0
    slope = rng.normal(0, 1.0) / max(120, width)
    shift = rng.normal(0, 1.2)
    left -= int(_BESIDE * stretch)
    wide = max(16, int((width - _BESIDE) * stretch) + left + right)
    # (x, y) in the new crop from those in the old one, around its middle row.
    matrix = np.array(
        [
            [stretch, stretch * slant, left - stretch * slant * height / 2],
            [zoom * slope, zoom, height / 2 - zoom * height / 2 + shift - zoom * slope * width / 2],
        ],
        np.float32,
    )
    out = cv2.warpAffine(crop, matrix, (wide, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    draw = rng.random()
    if draw < 0.08:
        out = cv2.erode(out, np.ones((2, 2) if rng.random() < 0.3 else (1, 2), np.uint8))  # dark areas grow
    elif draw < 0.16:
        out = cv2.addWeighted(out, 0.5, cv2.dilate(out, np.ones((2, 2), np.uint8)), 0.5, 0)
    elif draw < 0.26:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.0))
    if rng.random() < 0.5:
        gain, offset = rng.uniform(0.65, 1.3), rng.uniform(-25, 25)
        out = np.clip((out.astype(np.float32) - 160) * gain + 160 + offset, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        noise = rng.standard_normal(out.shape[:2]).astype(np.float32)[:, :, None] * rng.uniform(2, 12)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        out = scanned(rng, np.ascontiguousarray(out))
    return np.asarray(out, np.uint8)


def scanned(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Turns about every second crop into a poor scan: two colours only, few pixels, strong or uneven contrast, JPEG."""
    if rng.random() < 0.14:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        cut = float(cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0]) + rng.normal(0, 10)
        cut = cut + 0.8 * (cv2.GaussianBlur(grey, (0, 0), 25).astype(np.float32) - grey.mean())
        image = _pixels(cv2.cvtColor(np.where(grey > cut, 255, 0).astype(np.uint8), cv2.COLOR_GRAY2BGR))
    elif rng.random() < 0.15:
        share = rng.uniform(0.4, 0.75)
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        image = _pixels(cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR))
    if rng.random() < 0.15:
        image = np.clip((image.astype(np.float32) - 128) * rng.uniform(0.5, 1.5) + 128, 0, 255).astype(np.uint8)
    return jpeg(rng, image) if rng.random() < 0.3 else image


def jpeg(rng: np.random.Generator, image: Pixels, worst: int = 25) -> Pixels:
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(worst, 96))])
    return _pixels(cv2.imdecode(packed, cv2.IMREAD_COLOR))


def _pixels(image: object) -> Pixels:
    return np.asarray(image, np.uint8)
