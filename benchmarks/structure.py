"""How well lines are ordered and grouped, compared with ground truth as PAGE XML.

Found lines are matched with those of the ground truth by position; if the ground truth has regions only, a line belongs
to the region that contains its middle. Only matched lines count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from shapely import Point, Polygon, STRtree

from pero_worker.page import Line, Page

_SAME = 0.7
"""Regions are the same if they share at least this fraction of their lines (Jaccard index)."""
_BESIDE = 0.3
"""Two lines match only if more than this fraction of the shorter one lies within the other."""
_TYPES = {"title": "heading", "content": "paragraph"}
"""Region types of other dialects, with those that they stand for."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Counts, which can be added up."""

    pairs: int = 0
    """Pairs of ground-truth lines that were found."""
    inverted: int = 0
    """Pairs among them that were read in the wrong order."""
    steps: int = 0
    """Steps from one line to the next."""
    jumps: int = 0
    """Steps among them to another region, in excess of what the regions require."""
    regions: int = 0
    """Regions of the ground truth and of what was found, added up."""
    hits: int = 0
    """Regions of the ground truth that were found."""
    kinds: int = 0
    """Regions among them whose type is correct."""

    def __add__(self, other: Structure) -> Structure:
        return Structure(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )

    @property
    def order(self) -> float:
        return self.inverted / self.pairs if self.pairs else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.hits / self.regions if self.regions else 0.0


def compare(truth: Page, found: Page) -> Structure:
    """Returns the counts of one page."""
    lines = list(found.lines())
    homes = [place for place, region in enumerate(found.regions) for _ in region.lines]
    true_lines = [line for line in truth.lines() if len(line.baseline) > 1]
    true_homes = [p for p, region in enumerate(truth.regions) for line in region.lines if len(line.baseline) > 1]
    if true_lines:
        pairs = dict(matched(lines, true_lines))
        places = [pairs[i] for i in sorted(pairs)]
        inverted = sum(a > b for i, a in enumerate(places) for b in places[i + 1 :])
        regions = {i: true_homes[place] for i, place in pairs.items()}
        members: Mapping[int, object] = pairs
    else:
        regions = dict(_within(lines, [region.polygon for region in truth.regions]))
        members = {i: i for i in regions}
        places, inverted = [], 0
    ours, theirs = defaultdict(set), defaultdict(set)
    for i, region in regions.items():
        ours[homes[i]].add(members[i])
        theirs[region].add(members[i])
    sequence = [regions[i] for i in sorted(regions)]
    hits = kinds = 0
    for place, own in theirs.items():
        same = [home for home, other in ours.items() if len(own & other) >= _SAME * len(own | other)]
        if same:
            hits += 1
            kinds += found.regions[same[0]].kind == _kind(truth.regions[place].kind)
    return Structure(
        pairs=len(places) * (len(places) - 1) // 2,
        inverted=inverted,
        steps=max(0, len(sequence) - 1),
        jumps=sum(a != b for a, b in pairwise(sequence)) - max(0, len(theirs) - 1),
        regions=len(ours) + len(theirs),
        hits=hits,
        kinds=kinds,
    )


def _kind(name: str | None) -> str | None:
    return _TYPES.get(name or "", name)


def matched(lines: Sequence[Line], truth: Sequence[Line]) -> Iterator[tuple[int, int]]:
    """Matches found lines with those of the ground truth by position; several may match the same one."""
    baselines = [np.array(sorted(line.baseline)) for line in truth]
    for number, line in enumerate(lines):
        if len(line.baseline) < 2:
            continue
        own = np.array(line.baseline)
        x, y = own.mean(axis=0)
        left, right, height = own[:, 0].min(), own[:, 0].max(), sum(line.heights or (20.0, 8.0))
        best: tuple[float, int] | None = None
        for place, other in enumerate(baselines):
            begin, end = other[0, 0], other[-1, 0]
            shared = min(right, end) - max(left, begin)
            away = abs(float(np.interp(x, other[:, 0], other[:, 1])) - y)
            if shared > _BESIDE * min(right - left, end - begin) and away < height / 2 and (not best or away < best[0]):
                best = away, place
        if best:
            yield number, best[1]


def _within(lines: Sequence[Line], outlines: Sequence[Sequence[tuple[float, float]]]) -> Iterator[tuple[int, int]]:
    shapes = [Polygon(outline).buffer(0) if len(outline) > 2 else Polygon() for outline in outlines]
    tree = STRtree(shapes)
    for number, line in enumerate(lines):
        if line.baseline:
            xs, ys = zip(*line.baseline, strict=True)
            middle = Point(sum(xs) / len(xs), sum(ys) / len(ys) - sum(line.heights or (20.0, 8.0)) / 4)
            for place in sorted(tree.query(middle, predicate="intersects").tolist())[:1]:
                yield number, place
