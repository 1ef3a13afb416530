"""How well lines are put in order and grouped, against PAGE XML of the truth.

Found lines are matched with those of the truth by where they lie; where the truth has regions alone, a line belongs to
the region that its middle lies in. Only lines that are matched count.
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
"""Regions are the same when they share this much of their lines (Jaccard's index)."""
_BESIDE = 0.3
"""Of the shorter of two lines that are the same, so much lies within the other."""
_TYPES = {"title": "heading", "content": "paragraph"}
"""Kinds of other dialects."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Counts, to be added up."""

    pairs: int = 0
    """Of lines of the truth that were found."""
    inverted: int = 0
    """Of these, read in the wrong order."""
    steps: int = 0
    """From a line to the next."""
    jumps: int = 0
    """Of these, to another region, more often than there are regions."""
    regions: int = 0
    """Of the truth and of what was found, together."""
    hits: int = 0
    """Regions of the truth that were found."""
    kinds: int = 0
    """Of these, of the right kind."""

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
    """The counts of one page."""
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
    """Which lines are which of the truth, by where they lie; several may be the same one."""
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
