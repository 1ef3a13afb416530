"""Pages that go back to their queue, or aside, because something was away: what becomes of one, and what it means for
the others."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pero_worker.errors import RequestError, StoreAwayError, TransientError
from pero_worker.ports import Broker
from pero_worker.wire.requests import decode_request
from pero_worker.work import Delivery
from pero_worker.worker.returns import MAX_IN_A_ROW, TRIES_IN_A_ROW, Returned, Returns


class GivingBack:
    """Of one worker; from any thread."""

    def __init__(self, broker: Broker, *, set_aside: Callable[[Delivery, str], None]) -> None:
        """`set_aside` puts a message to the dead letters."""
        self._broker = broker
        self._set_aside = set_aside
        self._returns = Returns()
        self._lock = threading.Lock()

    def of(self, delivery: Delivery) -> Returned | None:
        """None: it was never given back."""
        with self._lock:
            return self._returns.of(delivery)

    def went_well(self, delivery: Delivery) -> None:
        """This one has been settled."""
        with self._lock:
            self._returns.went_well(delivery)

    def give_back(self, delivery: Delivery, error: TransientError) -> None:
        """Uncounted, for `error`; behind the others of its queue where that came too often in a row."""
        with self._lock:
            returned = self._returns.note(delivery, str(error), blameless=isinstance(error, StoreAwayError))
        if returned.in_a_row % TRIES_IN_A_ROW or not self._move_away(delivery, returned):
            self._broker.give_back(delivery)

    def _move_away(self, delivery: Delivery, returned: Returned) -> bool:
        """What is given back comes first again: lest a stage stand still for one page, others are let by. Whether it
        worked."""
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
