"""Counts how often a message was given back uncounted, because something was away for the moment. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pero_worker.work import Delivery

MAX_RETURNS = 10
"""A page that was given back so often while others went well is at fault itself."""
TRIES_IN_A_ROW = 5
"""After so many the message goes behind the others of its queue, so that these are tried, too."""
MAX_IN_A_ROW = 20
"""After so many, a message that cannot be put behind the others either is set aside."""
_MAX_MESSAGES = 1000
"""That are remembered."""


@dataclass(slots=True, kw_only=True)
class Returned:
    """A message that was given back."""

    times: int = 0
    """How often, as far as other pages went well meanwhile."""
    in_a_row: int = 0
    """How often, while no other page went well."""
    reason: str = ""
    """Why, the last time."""
    others_went_well: bool = True
    """Since then."""


class Returns:
    """Of one worker."""

    def __init__(self) -> None:
        self._found: dict[str, Returned] = {}

    def note(self, delivery: Delivery, reason: str, *, blameless: bool = False) -> Returned:
        """It is given back. When nothing goes well it is not this page's fault, and it is not counted; nor where it is
        known to be `blameless`."""
        key = _key(delivery)
        found = self._found.pop(key, None) or Returned()
        found.times += found.others_went_well and not blameless
        found.in_a_row = 1 if found.others_went_well else found.in_a_row + 1
        found.reason, found.others_went_well = reason, False
        self._found[key] = found
        if len(self._found) > _MAX_MESSAGES:
            del self._found[next(iter(self._found))]
        return found

    def went_well(self, delivery: Delivery) -> None:
        """This one has been settled."""
        if self._found:
            self._found.pop(_key(delivery), None)
        for found in self._found.values():
            found.others_went_well = True

    def of(self, delivery: Delivery) -> Returned | None:
        """None: it was never given back."""
        return self._found.get(_key(delivery)) if self._found else None


def _key(delivery: Delivery) -> str:
    return f"{hashlib.sha256(delivery.body).hexdigest()} {delivery.queue}"
