"""Time as tests want it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class StandingClock:
    """Stands still until told. `seconds` is how far it has gone since `start`."""

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self.start = start
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
