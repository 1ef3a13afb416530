"""How far to trust line confidences, with a reliability diagram: python benchmarks/confidence.py PAGES [PAGES ...]

PAGES are folders of images with ground truth next to them as PAGE XML (NAME.xml, with baselines and texts). Each engine
reads them, unless --results names a folder that already has its results (ENGINE/NAME.page.xml). Lines are matched by
position and compared as in `benchmarks/quality.py`; lines found twice, or not at all, do not count.

    python benchmarks/confidence.py ../shared/pages --engines print-latin,print-best --svg docs/images/reliability.svg
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from quality import SUFFIXES, pero_worker
from rapidfuzz.distance import Levenshtein
from scipy.stats import rankdata, spearmanr
from structure import matched
from textscore import normalised

from pero_worker.formats import pagexml
from pero_worker.page import Page

EDGES = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 1.0)
WRONG = 0.1
"""A line with a higher error rate should be checked."""
FEW = 100
"""A bin with fewer letters is not drawn."""
COLOURS = ("#1b6ca8", "#c1440e", "#2e7d32", "#6a4c93")
SIDE, LEFT, TOP = 420, 62, 22
LEAST, MOST = 0.5, 0.998
"""Limits of the diagram; its scale gives 10 to 5 % of errors the same width as 2 to 1 %."""
TICKS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The lines that were found, with one entry for each."""

    confidence: NDArray[np.float64]
    letters: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @property
    def rate(self) -> NDArray[np.float64]:
        return self.wrong / self.letters

    def spearman(self) -> float:
        return float(spearmanr(self.confidence, self.rate).statistic)

    def auroc(self) -> float:
        """Returns the probability that a line with many errors has a lower confidence than another line."""
        bad = self.rate > WRONG
        ranks, positive = rankdata(-self.confidence), int(bad.sum())
        return float((ranks[bad].sum() - positive * (positive + 1) / 2) / max(1, positive * (len(bad) - positive)))

    def best_rank(self) -> float:
        """Returns Spearman's coefficient of a confidence that knows each line's errors and ranks ties by chance."""
        _, equal = np.unique(self.rate, return_counts=True)
        count = len(self.rate)
        return -float(np.sqrt(1 - ((equal**3 - equal).sum()) / (count**3 - count)))

    def honest_rank(self) -> float:
        """Returns Spearman's coefficient of these confidences if each letter, independently, were wrong with exactly
        the probability that they state."""
        dice = np.random.default_rng(0)
        drawn = [dice.binomial(self.letters, 1 - self.confidence) / self.letters for _ in range(20)]
        return float(np.mean([spearmanr(self.confidence, rate).statistic for rate in drawn]))

    def bins(self) -> Iterator[tuple[float, float, int]]:
        """Yields mean confidence, share of correct letters and number of letters of each bin."""
        for low, high in pairwise(EDGES):
            own = (self.confidence >= low) & ((self.confidence < high) | (high == EDGES[-1]))
            if letters := int(self.letters[own].sum()):
                mean = float((self.confidence[own] * self.letters[own]).sum()) / letters
                yield mean, 1 - int(self.wrong[own].sum()) / letters, letters

    def distance(self) -> float:
        """Returns the mean distance, over letters, of confidence from the share of correct ones (expected calibration
        error)."""
        return sum(abs(given - right) * letters for given, right, letters in self.bins()) / int(self.letters.sum())


def judged(pairs: Sequence[tuple[Page, Page]]) -> Judged:
    """Judges pairs of pages: the ground truth, and what was read."""
    rows = [row for truth, found in pairs for row in _lines(truth, found)]
    table = np.array(rows).reshape(-1, 3)
    return Judged(confidence=table[:, 0], letters=table[:, 1].astype(int), wrong=table[:, 2].astype(int))


def _lines(truth: Page, found: Page) -> Iterator[tuple[float, int, int]]:
    true = [line for line in truth.lines() if len(line.baseline) > 1 and line.text]
    own = list(found.lines())
    places = defaultdict(list)
    for number, place in matched(own, true):
        places[place].append(number)
    for place, numbers in places.items():
        line = own[numbers[0]]
        right, text = normalised(true[place].text or "", fold=True), normalised(line.text or "", fold=True)
        if len(numbers) == 1 and right and line.confidence is not None:
            yield line.confidence, len(right), min(len(right), Levenshtein.distance(right, text))


def drawn(series: dict[str, Judged]) -> str:
    """Returns an SVG: honest confidences lie on the diagonal; the area of a point grows with its number of letters."""

    def at(share: float) -> float:
        errors = min(1 - LEAST, max(1 - MOST, 1 - share))
        return SIDE * math.log((1 - LEAST) / errors) / math.log((1 - LEAST) / (1 - MOST))

    def x(share: float) -> float:
        return LEFT + at(share)

    def y(share: float) -> float:
        return TOP + SIDE - at(share)

    width, height = LEFT + SIDE + 24, TOP + SIDE + 58 + 20 * len(series)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        "<title>Share of right letters by confidence of their lines</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<path d="M{x(LEAST):.1f} {y(LEAST):.1f}L{x(MOST):.1f} {y(MOST):.1f}" stroke="#999" stroke-dasharray="5 4"/>',
    ]
    for tick in TICKS:
        parts += [
            f'<path d="M{x(tick):.1f} {TOP}V{TOP + SIDE}M{LEFT} {y(tick):.1f}H{LEFT + SIDE}" stroke="#e4e4e4"/>',
            f'<text x="{x(tick):.1f}" y="{TOP + SIDE + 18}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>',
        ]
    middle = TOP + SIDE / 2
    parts += [
        f'<text x="{LEFT + SIDE / 2}" y="{TOP + SIDE + 38}" text-anchor="middle">confidence of the line</text>',
        f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">right letters</text>',
    ]
    for number, (name, lines) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(x(given), y(right), letters) for given, right, letters in lines.bins() if letters >= FEW]
        path = "L".join(f"{left:.1f} {top:.1f}" for left, top, _ in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{1.5 + letters**0.5 / 20:.1f}" fill="{colour}" opacity=".7"/>'
            for left, top, letters in points
        ]
        level = TOP + SIDE + 62 + 20 * number
        parts.append(f'<circle cx="{LEFT + 6}" cy="{level - 4}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 18}" y="{level}">{name}: {int(lines.letters.sum()):,} letters</text>')
    return "\n".join((*parts, "</svg>")) + "\n"


def pages_of(folder: Path) -> dict[str, Page]:
    return {path.name.removesuffix(".page.xml"): pagexml.read(path.read_bytes()) for path in folder.glob("*.page.xml")}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", nargs="+", type=Path, metavar="PAGES")
    arguments.add_argument("--engines", default="print-latin,print-best")
    arguments.add_argument("--results", type=Path, help="a folder with results of the engines: ENGINE/NAME.page.xml")
    arguments.add_argument("--svg", type=Path, help="where the diagram is written")
    given = arguments.parse_args()
    images = [path for folder in given.folders for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    truths = {path.stem: path for path in images if path.with_suffix(".xml").is_file()}
    if not truths:
        sys.exit("there are no images with a NAME.xml beside them in " + ", ".join(map(str, given.folders)))
    truth = {name: pagexml.read(path.with_suffix(".xml").read_bytes()) for name, path in truths.items()}
    series = {}
    for engine in given.engines.split(","):
        if given.results:
            found = pages_of(given.results / engine)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                found = pero_worker(engine, list(truths.values()), Path(scratch)).pages
        lines = judged([(truth[name], page) for name, page in found.items() if name in truth])
        if not len(lines.letters):
            sys.exit(f"{engine}: no line of its results lies where one of the truth does")
        series[engine] = lines
    show(series)
    if given.svg:
        given.svg.write_text(drawn(series), "utf-8")


def show(series: dict[str, Judged]) -> None:
    print("| engine | lines | without a fault | Spearman | if all were known | if all were honest | AUROC | distance |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, lines in series.items():
        print(
            f"| {name} | {len(lines.letters)} | {np.mean(lines.wrong == 0):.0%} | {lines.spearman():.2f} "
            f"| {lines.best_rank():.2f} | {lines.honest_rank():.2f} | {lines.auroc():.2f} | {lines.distance():.3f} |"
        )
    for name, lines in series.items():
        print(f"\n{name}\n\n| confidence | right | letters |\n| --- | --- | --- |")
        for given, right, letters in lines.bins():
            print(f"| {given:.3f} | {right:.3f} | {letters} |")


if __name__ == "__main__":
    main()
