"""Gives pages back to their queue, or sets them aside, when something was unavailable, without one page holding up the
others."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pero_worker.errors import RequestError, StoreAwayError, TransientError
from pero_worker.ports import Broker
from pero_worker.wire.requests import decode_request
from pero_worker.work import Delivery
from pero_worker.worker.returns import MAX_IN_A_ROW, TRIES_IN_A_ROW, Returned, Returns


class GivingBack:
    """Gives back the pages of one worker; may be used from any thread."""

    def __init__(self, broker: Broker, *, set_aside: Callable[[Delivery, str], None]) -> None:
        """`set_aside` moves a message to the dead letters."""
        self._broker = broker
        self._set_aside = set_aside
        self._returns = Returns()
        self._lock = threading.Lock()

    def of(self, delivery: Delivery) -> Returned | None:
        """Returns what is known of a message that was given back; None if it never was."""
        with self._lock:
            return self._returns.of(delivery)

    def went_well(self, delivery: Delivery) -> None:
        """Notes that the message has been settled."""
        with self._lock:
            self._returns.went_well(delivery)

    def give_back(self, delivery: Delivery, error: TransientError) -> None:
        """Gives the page back because of `error`, without counting an attempt; behind the others in its queue if that
        happened too often in a row."""
        with self._lock:
            returned = self._returns.note(delivery, str(error), blameless=isinstance(error, StoreAwayError))
        if returned.in_a_row % TRIES_IN_A_ROW or not self._move_away(delivery, returned):
            self._broker.give_back(delivery)

    def _move_away(self, delivery: Delivery, returned: Returned) -> bool:
        """Moves a message behind the others, or else sets it aside: given back, it would come first again, and one page
        could hold up a whole stage. Returns whether that worked."""
        try:
            self._broker.hand_on(delivery, delivery.queue, delivery.body, decode_request(delivery.body).priority)
        except (TransientError, RequestError) as error:
            if returned.in_a_row < MAX_IN_A_ROW:
                return False
            try:
                self._set_aside(delivery, f"it could not be handed on {returned.in_a_row} times in a row: {error}")
            except TransientError:
                return False
        return True
