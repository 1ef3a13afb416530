"""What stays of the models that were fetched; apart from the store, for programs that only start workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What stays of what is not in use."""

    age: timedelta | None = None
    """Entries used within this time; None: any."""
    bytes: int | None = None
    """The most recently used, up to so much in all; None: any."""
