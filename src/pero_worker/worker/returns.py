"""Counts how often a message was given back, without charging an attempt, because something was unavailable. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pero_worker.work import Delivery

MAX_RETURNS = 10
"""A page given back this many times while others went well is itself at fault."""
TRIES_IN_A_ROW = 5
"""After this many in a row the message goes behind the others in its queue, so that these are tried, too."""
MAX_IN_A_ROW = 20
"""After this many in a row, a message that cannot be put behind the others, either, is set aside."""
_MAX_MESSAGES = 1000
"""Messages that are remembered."""


@dataclass(slots=True, kw_only=True)
class Returned:
    """A message that was given back."""

    times: int = 0
    """How often it was given back, not counting the times when no other page had gone well since the last."""
    in_a_row: int = 0
    """How often it was given back in a row while no other page went well."""
    reason: str = ""
    """Why it was given back the last time."""
    others_went_well: bool = True
    """Whether other pages have gone well since then."""


class Returns:
    """The messages that one worker gave back."""

    def __init__(self) -> None:
        self._found: dict[str, Returned] = {}

    def note(self, delivery: Delivery, reason: str, *, blameless: bool = False) -> Returned:
        """Notes that the message is given back. It is not counted when nothing goes well, as that is not this page's
        fault, or when the page is known to be `blameless`."""
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
        """Notes that the message has been settled."""
        if self._found:
            self._found.pop(_key(delivery), None)
        for found in self._found.values():
            found.others_went_well = True

    def of(self, delivery: Delivery) -> Returned | None:
        """Returns what is known of a message that was given back; None if it never was."""
        return self._found.get(_key(delivery)) if self._found else None


def _key(delivery: Delivery) -> str:
    return f"{hashlib.sha256(delivery.body).hexdigest()} {delivery.queue}"
