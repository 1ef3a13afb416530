"""What printing, age and scanning do to ink and paper. Ink is a float32 coverage 0..1, images are uint8 BGR."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as Pillow

Ink = NDArray[np.float32]
Image = NDArray[np.uint8]


def covered(sheet: Pillow) -> Ink:
    """What was drawn in white on black."""
    return np.asarray(sheet, np.float32) / np.float32(255)


def clouds(rng: np.random.Generator, shape: tuple[int, int], cell: int, strength: float) -> Ink:
    """Smooth noise around 0, its hills about `cell` pixels wide."""
    height, width = shape
    seeds = rng.standard_normal((max(2, height // cell + 2), max(2, width // cell + 2))).astype(np.float32)
    return np.asarray(cv2.resize(seeds * strength, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def pressed(rng: np.random.Generator, ink: Ink, strength: float = 1.0, clogged: float = 0.14) -> Ink:
    """Ink as a press leaves it: strokes thicker or thinner, worn, spread into closed counters, with specks.

    `clogged` is how often it is spread.
    """
    kind = rng.random()
    if kind < 0.22:
        ink = cv2.dilate(ink, np.ones((2, 2) if rng.random() < 0.5 else (1, 2), np.uint8))
    elif kind < 0.36:
        ink = ink * 0.45 + cv2.erode(ink, np.ones((2, 2), np.uint8)) * 0.55
    elif kind < 0.36 + clogged:  # spread: blurred and cut, so that corners round and counters close
        soft = cv2.GaussianBlur(ink, (0, 0), rng.uniform(0.8, 2.2))
        ink = np.clip((soft - rng.uniform(0.25, 0.6)) * rng.uniform(2, 6) + 0.5, 0, 1)
    if rng.random() < 0.35 * strength:
        worn = clouds(rng, ink.shape, int(rng.integers(2, 9)), 1.0)
        ink = ink * np.clip(1.1 - rng.uniform(0, 0.6) * np.maximum(worn, 0), 0, 1)
    if rng.random() < 0.15 * strength:
        ink = np.where(rng.random(ink.shape) < rng.uniform(0, 0.05), rng.random(ink.shape), ink)
    return np.asarray(ink, np.float32)


def on_paper(rng: np.random.Generator, ink: Ink, strength: float = 1.0, behind: Ink | None = None) -> Image:
    """Ink on toned, uneven, perhaps stained paper; `behind` is ink that shows through from the other side."""
    paper = rng.uniform(120, 252)
    black = rng.uniform(0, min(115, paper - 60))
    ground = np.full(ink.shape, paper, np.float32)
    if rng.random() < 0.6:
        ground += clouds(rng, ink.shape, int(rng.integers(12, 60)), rng.uniform(1, 12) * strength)
    if rng.random() < 0.12 * strength:  # a stain or a shadow
        ground *= 1 - np.clip(clouds(rng, ink.shape, int(rng.integers(30, 160)), 0.25), 0, 0.35)
    if behind is not None:
        ground -= behind * rng.uniform(10, 55)
    grey = ground * (1 - ink) + black * ink
    grain = rng.uniform(0, 10) * strength
    if grain > 1:
        grey = grey + rng.standard_normal(ink.shape).astype(np.float32) * grain
    if rng.random() < 0.5:
        grey = cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.3, 1.3))
    tint = np.ones(3, np.float32)
    if rng.random() < 0.5:  # yellowed
        tint = np.array([rng.uniform(0.72, 1), rng.uniform(0.88, 1), 1], np.float32)
    return np.clip(grey[:, :, None] * tint, 0, 255).astype(np.uint8)
