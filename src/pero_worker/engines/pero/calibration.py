"""What a network's probabilities are worth: the share of letters that are right among those of a given probability."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

_MAX_POINTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Interpolates between points measured on lines of known text; without points it changes nothing."""

    given: tuple[float, ...] = ()
    """Mean probabilities that the network gave the letters of a line, in rising order."""
    right: tuple[float, ...] = ()
    """The share of letters that were right at each of these probabilities."""

    @classmethod
    def of(cls, text: str) -> Calibration:
        """Parses "0.5:0.2 0.9:0.85 1:0.99". Raises `ValueError`, which says what is wrong with the text."""
        points = []
        for pair in text.split()[: _MAX_POINTS + 1]:
            given, colon, right = pair.partition(":")
            try:
                points.append((float(given), float(right)))
            except ValueError:
                colon = ""
            if not colon:
                raise ValueError(f"{pair!r} is not two numbers with a colon between them, such as 0.9:0.85")
        if not 2 <= len(points) <= _MAX_POINTS:
            raise ValueError(f"it needs 2 to {_MAX_POINTS} points")
        if not all(0 <= number <= 1 for point in points for number in point):
            raise ValueError("a number is not between 0 and 1")
        if not all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(points)):
            raise ValueError("the points do not rise")
        return cls(given=tuple(given for given, _ in points), right=tuple(right for _, right in points))

    def __call__(self, probability: float) -> float:
        if not self.given:
            return probability
        above = bisect_left(self.given, probability)
        if above == 0:
            return self.right[0]
        if above == len(self.given):
            return self.right[-1]
        share = (probability - self.given[above - 1]) / (self.given[above] - self.given[above - 1])
        return self.right[above - 1] + share * (self.right[above] - self.right[above - 1])
