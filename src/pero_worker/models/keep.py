"""Which downloaded models are kept; separate from the store, for programs that only start workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Limits on the entries that are kept while not in use."""

    age: timedelta | None = None
    """Entries used within this time are kept; None: of any age."""
    bytes: int | None = None
    """The most recently used entries are kept, up to this total size; None: no limit."""
