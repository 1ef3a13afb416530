"""A broker in this process's memory: for a single machine without servers, and for tests that need a broker."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pero_worker.errors import NoQueueError, PeroWorkerError, TransientError
from pero_worker.work import Delivery


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class _Message:
    rank: tuple[int, int]
    """Sort key, smallest first: the negated priority, and the order of arrival."""
    body: bytes
    attempts: int = 0
    """Deliveries during which the worker died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A message that could not be used."""

    queue: str
    """Queue that it came from."""
    body: bytes
    """Body of the message, as it came."""
    reason: str
    """Why it could not be used."""


class MemoryBroker:
    """`ports.Broker` with priorities. Thread-safe; bodies are held in memory, so publishers must limit themselves."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._changed = threading.Condition()
        self._queues: dict[str, list[_Message]] = {name: [] for name in queues}
        self._in_hand: dict[int, tuple[str, str, _Message]] = {}
        self._numbers = itertools.count(1)
        self._set_aside: list[SetAside] = []

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        with self._changed:
            self._changed.wait_for(lambda: any(self._queues[name] for name in queues), timeout)
            for name in queues:
                if self._queues[name]:
                    message = heapq.heappop(self._queues[name])
                    tag = next(self._numbers)
                    self._in_hand[tag] = (consumer, name, message)
                    return Delivery(tag=tag, queue=name, body=message.body, attempts=message.attempts)
        return None

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None:
        with self._changed:
            if queue not in self._queues:
                raise NoQueueError(f"there is no queue named {queue!r}")
            self._put(queue, _Message(rank=(-priority, next(self._numbers)), body=body))

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        with self._changed:
            if delivery.tag not in self._in_hand:
                raise TransientError("the page was taken back from this worker")
            self.publish(queue, body, priority)
            del self._in_hand[delivery.tag]

    def hand_on_soon(
        self,
        delivery: Delivery,
        queue: str,
        body: bytes,
        priority: int,
        done: Callable[[PeroWorkerError | None], None],
    ) -> None:
        self.hand_on(delivery, queue, body, priority)
        done(None)

    def ack(self, delivery: Delivery) -> None:
        with self._changed:
            self._in_hand.pop(delivery.tag, None)

    def give_back(self, delivery: Delivery) -> None:
        with self._changed:
            held = self._in_hand.pop(delivery.tag, None)
            if held:
                self._put(held[1], held[2])

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        with self._changed:
            held = self._in_hand.pop(delivery.tag, None)
            if held:
                self._set_aside.append(SetAside(queue=held[1], body=held[2].body, reason=reason))

    def release(self, consumer: str) -> int:
        """Takes back the messages that a dead consumer held and charges each an attempt; returns their number."""
        with self._changed:
            lost = [tag for tag, held in self._in_hand.items() if held[0] == consumer]
            for tag in lost:
                _, queue, message = self._in_hand.pop(tag)
                self._put(queue, replace(message, attempts=message.attempts + 1))
            return len(lost)

    def take_set_aside(self) -> list[SetAside]:
        """Returns what was set aside since the last call."""
        with self._changed:
            found, self._set_aside = self._set_aside, []
            return found

    def length(self, queue: str) -> int:
        """Number of messages waiting in `queue`, not counting those in hand."""
        with self._changed:
            return len(self._queues[queue])

    def _put(self, queue: str, message: _Message) -> None:
        heapq.heappush(self._queues[queue], message)
        self._changed.notify_all()
