"""The dead letters: messages that were set aside, to be looked at, tried again or dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.errors import RequestError, UsageError
from pero_worker.request import Request
from pero_worker.wire.queues import DEAD_LETTERS, ORIGIN, REASON
from pero_worker.wire.requests import decode_request
from pero_worker.work import Delivery


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`number` counts from 1, the oldest first; `request` is None when the message is none."""

    number: int
    reason: str
    origin: str
    body: bytes
    request: Request | None


def dead_letters(broker: RabbitBroker, limit: int) -> tuple[DeadLetter, ...]:
    """The oldest `limit`, which stay where they are."""
    with _held(broker, limit) as held:
        return tuple(letter for letter, _ in held)


def settle(
    broker: RabbitBroker, wanted: Callable[[DeadLetter], bool], replay: bool, limit: int
) -> tuple[DeadLetter, ...]:
    """Takes the `wanted` ones of the oldest `limit` out: back to the queue they came from, or dropped.

    UsageError: a queue is not there any more; what was done before stays done.
    """
    done: list[DeadLetter] = []
    with _held(broker, limit) as held:
        while held:
            letter, delivery = held.pop(0)
            if not wanted(letter):
                broker.give_back(delivery)
                continue
            try:
                if replay:
                    priority = letter.request.priority if letter.request else 0
                    broker.hand_on(delivery, letter.origin, letter.body, priority)
                else:
                    broker.ack(delivery)
            except RequestError as error:
                broker.give_back(delivery)
                raise UsageError(f"letter {letter.number} cannot go back to {letter.origin}: {error}") from error
            done.append(letter)
    return tuple(done)


@contextmanager
def _held(broker: RabbitBroker, limit: int) -> Iterator[list[tuple[DeadLetter, Delivery]]]:
    """They are in hand meanwhile, so that nobody else takes them; what is left in the list at the end goes back."""
    held: list[tuple[DeadLetter, Delivery]] = []
    try:
        while len(held) < limit and broker.state(DEAD_LETTERS) is not None:
            found = broker.take(DEAD_LETTERS)
            if found is None:
                break
            delivery, headers = found
            reason, origin = str(headers.get(REASON, "")), str(headers.get(ORIGIN, ""))
            held.append((DeadLetter(len(held) + 1, reason, origin, delivery.body, _request(delivery.body)), delivery))
        yield held
    finally:
        # Each goes to the head of the queue: the oldest last keeps the order.
        for _, delivery in reversed(held):
            broker.give_back(delivery)


def _request(body: bytes) -> Request | None:
    try:
        return decode_request(body)
    except RequestError:
        return None
