"""Dead letters: messages that were set aside and pages that failed, to be inspected, retried or dropped."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.errors import PageError, RequestError, UsageError
from pero_worker.ports import Payloads
from pero_worker.request import Request
from pero_worker.wire.queues import DEAD_LETTERS, ORIGIN, REASON
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.work import Delivery
from pero_worker.worker.inline import InlinePayloads
from pero_worker.worker.payloads import size_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that no worker could use, or a page that failed. Its body is not kept, as there may be thousands."""

    number: int
    """Number of the letter, counted from 1 for the oldest."""
    reason: str
    """Why it was set aside, or why the page failed."""
    origin: str
    """The queue it came from; for a page that failed, the stage."""
    size: int
    """Size of the message, in bytes."""
    begins: bytes
    """First bytes of the message."""
    request: Request | None
    """The request, without the contents of its results; None: the message is not a request."""
    results: tuple[tuple[str, int], ...] = ()
    """Names and sizes of the request's results; sizes in bytes."""


def dead_letters(broker: RabbitBroker, limit: int, queue: str = DEAD_LETTERS) -> tuple[DeadLetter, ...]:
    """Returns the letters among the oldest `limit` messages of `queue`, which stay in the queue."""
    with _reading(broker, limit, queue) as letters:
        return tuple(letter for letter, _ in letters)


def read_letter(broker: RabbitBroker, number: int, limit: int, queue: str = DEAD_LETTERS) -> tuple[DeadLetter, bytes]:
    """Returns the letter with this number, and its message. Raises `UsageError` if there is none."""
    with _reading(broker, limit, queue) as letters:
        for letter, delivery in letters:
            if letter.number == number:
                return letter, delivery.body
    raise UsageError(f"there is no message {number}: see pero-worker dead list")


def settle(
    broker: RabbitBroker,
    wanted: Callable[[DeadLetter], bool],
    replay: bool,
    limit: int,
    queue: str = DEAD_LETTERS,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    payloads: Payloads | None = None,
) -> frozenset[int]:
    """Takes the `wanted` letters among the oldest `limit` messages out of `queue` and returns their numbers. They are
    dropped, or with `replay` retried: a page that failed in the stage where it failed, other messages in the queue they
    came from.

    Raises `UsageError` if a queue is gone; letters settled before that stay settled.
    """
    done = set()
    payloads = payloads or InlinePayloads()
    with _reading(broker, limit, queue) as letters:
        for letter, delivery in letters:
            if not wanted(letter):
                continue
            if replay:
                _replay(broker, payloads, letter, delivery, new_id)
            else:
                broker.ack(delivery)
                payloads.release(letter.request.references if letter.request else ())
            done.add(letter.number)
    return frozenset(done)


def _replay(
    broker: RabbitBroker, payloads: Payloads, letter: DeadLetter, delivery: Delivery, new_id: Callable[[], str]
) -> None:
    body, target = delivery.body, letter.origin
    priority = letter.request.priority if letter.request else 0
    if letter.request is not None and letter.request.failed:
        again = decode_request(body).tried_again(new_id())
        body, target = encode_request(again), again.stage
    if letter.request is not None and letter.request.references:
        body = _packed_for(target, body, payloads)
    try:
        broker.hand_on(delivery, target, body, priority)
    except RequestError as error:
        raise UsageError(f"message {letter.number} cannot go back to {target}: {error}") from error


def _packed_for(queue: str, body: bytes, payloads: Payloads) -> bytes:
    """Packs the page for `queue`, whose readers may not follow references."""
    request = decode_request(body)
    try:
        return encode_request(payloads.pack(request, queue))
    except PageError as error:
        raise UsageError(f"the page cannot be sent back to {queue}: {error}") from error


@contextmanager
def _reading(broker: RabbitBroker, limit: int, queue: str) -> Iterator[Iterator[tuple[DeadLetter, Delivery]]]:
    """Yields the letters one by one, with their messages. All messages read are held until the end, so that nobody else
    takes them; those not settled are then given back, and until then only their tags are kept."""
    held: list[Delivery] = []

    def read() -> Generator[tuple[DeadLetter, Delivery], None, None]:
        number = 0
        for _ in range(limit if broker.state(queue) is not None else 0):
            found = broker.take(queue)
            if found is None:
                return
            delivery, headers = found
            held.append(replace(delivery, body=b""))
            letter = _letter(number + 1, delivery, headers, queue)
            if letter is not None:
                number += 1
                yield letter, delivery

    try:
        with closing(read()) as letters:
            yield letters
    finally:
        # Each goes to the head of the queue, so the oldest goes last to keep the order. Settled ones are gone.
        for delivery in reversed(held):
            broker.give_back(delivery)


def _letter(number: int, delivery: Delivery, headers: dict[str, object], queue: str) -> DeadLetter | None:
    """Returns None if the message waits in an output queue and is not a failure."""
    try:
        whole = decode_request(delivery.body)
    except (RequestError, PageError):
        whole = None
    # A cancelled page was taken back, and holds nothing to retry.
    failed = whole is not None and whole.failed and not whole.cancelled
    if queue != DEAD_LETTERS and not failed:
        return None
    last = whole.logs[-1] if whole is not None and failed else None
    reason, origin = str(headers.get(REASON, "")), str(headers.get(ORIGIN, ""))
    return DeadLetter(
        number=number,
        reason=f"failed: {last.log.strip() or 'without a word'}" if last is not None else reason,
        origin=last.stage if last is not None else origin,
        size=len(delivery.body),
        begins=delivery.body[:40],
        request=whole.with_results(()) if whole is not None else None,
        results=tuple((payload.name, size_of(payload)) for payload in whole.results) if whole is not None else (),
    )
