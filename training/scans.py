"""What a scanner or a camera does to a drawn page, its lines and regions with it: turns, curls, dark surroundings."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pero_worker.training.variety import jpeg
from training import ink
from training.drawn import Drawn, Points


def scan(rng: np.random.Generator, page: Drawn) -> None:
    """Changes `page` in place; its size stays."""
    if rng.random() < 0.15:
        _lay_on_table(rng, page)
    if rng.random() < 0.7:
        _turn(rng, page)
    if rng.random() < 0.25:
        _curl(rng, page)
    if rng.random() < 0.2:
        edge, dark = int(rng.uniform(0.005, 0.06) * page.image.shape[1]), int(rng.integers(0, 60))
        turned = np.rot90(page.image, turns := int(rng.integers(0, 4))).copy()
        turned[:edge] = dark
        page.image = np.rot90(turned, -turns).copy()
    if rng.random() < 0.4:
        page.image = jpeg(rng, page.image, 30)


def _lay_on_table(rng: np.random.Generator, page: Drawn) -> None:
    """The page becomes smaller and lies on something dark, between the edges of other leaves."""
    height, width = page.image.shape[:2]
    share = rng.uniform(0.75, 0.95)
    left, top = rng.uniform(0, 1 - share) * width, rng.uniform(0, 1 - share) * height
    matrix = np.array([[share, 0, left], [0, share, top]])
    table = rng.uniform(0, 90) + ink.clouds(rng, (height, width), int(rng.integers(20, 200)), 6)
    ground = np.repeat(np.clip(table, 0, 255)[:, :, None], 3, 2).astype(np.uint8)
    for _ in range(int(rng.integers(0, 12))):  # leaves below, a little to the side
        x, y = left + rng.uniform(-0.05, 0.05) * width, top + rng.uniform(-0.05, 0.05) * height
        corner, far = (int(x), int(y)), (int(x + share * width), int(y + share * height))
        tone = rng.uniform(0.3, 1) * page.image.mean((0, 1))
        cv2.rectangle(ground, corner, far, tuple(map(float, tone)), -1)
    small = cv2.warpAffine(page.image, matrix, (width, height), flags=cv2.INTER_AREA)
    where = cv2.warpAffine(np.ones((height, width), np.uint8), matrix, (width, height))
    page.image = np.where(where[:, :, None] > 0, small, ground).astype(np.uint8)
    _move(page, matrix)
    page.heights = [(above * share, below * share) for above, below in page.heights]


def _turn(rng: np.random.Generator, page: Drawn) -> None:
    height, width = page.image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 0.9), 1.0)
    matrix[0, 1] += rng.normal(0, 0.01)
    turned = cv2.warpAffine(page.image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    page.image = np.asarray(turned, np.uint8)
    _move(page, np.asarray(matrix, np.float64))


def _move(page: Drawn, matrix: NDArray[np.float64]) -> None:
    page.baselines = [points @ matrix[:, :2].T + matrix[:, 2] for points in page.baselines]
    page.regions = [points @ matrix[:, :2].T + matrix[:, 2] for points in page.regions]


def _curl(rng: np.random.Generator, page: Drawn) -> None:
    """The curl of a page near the binding: columns of pixels are moved down, the more the nearer."""
    height, width = page.image.shape[:2]
    depth, reach = rng.uniform(0.004, 0.02) * height, rng.uniform(0.2, 0.6)
    at_left = rng.random() < 0.5

    def moved(x: Points) -> Points:
        near = (1 - x / width if not at_left else x / width) / reach
        return np.asarray(depth * np.clip(1 - near, 0, 1) ** 2)

    columns = np.arange(width, dtype=float)
    rows = np.arange(height, dtype=float)[:, None] - moved(columns)
    grid = np.broadcast_to(columns, rows.shape).astype(np.float32), rows.astype(np.float32)
    curled = cv2.remap(page.image, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    page.image = np.asarray(curled, np.uint8)
    bent = []
    for points in page.baselines:
        x = np.linspace(points[0, 0], points[-1, 0], 9)
        y = np.interp(x, points[:, 0], points[:, 1])
        bent.append(np.stack([x, y + moved(x)], 1))
    page.baselines = bent
    page.regions = [points + np.stack([np.zeros(len(points)), moved(points[:, 0])], 1) for points in page.regions]
