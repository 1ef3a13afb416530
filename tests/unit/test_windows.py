"""Messages on their way in and out of RabbitMQ, several at once, on channels made for the occasion."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from pika import spec
from pika.exceptions import ChannelClosedByBroker

from pero_worker.brokers.ahead import AHEAD_SECONDS, MOST_BYTES, MOST_MESSAGES, Ahead
from pero_worker.brokers.intake import Intake
from pero_worker.brokers.transport import join
from pero_worker.brokers.window import LARGE_BYTES, Sending, Window
from pero_worker.errors import PeroWorkerError, RequestError, TransientError

# -- how much is taken ahead -------------------------------------------------------------------------------------------


def after(seconds: float, size: int = 1000, pages: int = 1000) -> int:
    ahead = Ahead()
    for _ in range(pages):
        ahead.took(seconds, size)
    return ahead.messages


def test_where_contents_are_fetched_one_more_is_in_hand() -> None:
    """The next page's, while the engine has this one; not where a page takes so long that others could do it."""
    for seconds, fetched, messages, patience in (
        (0.5, True, 2, 1.0),
        (0.5, False, 1, 0.25),
        (3.0, True, 1, 0.25),
        (0.01, True, 11, 0.25),
    ):
        ahead = Ahead()
        for _ in range(10):
            ahead.took(seconds, 1000, fetched=fetched)
        assert (ahead.messages, ahead.patience) == (messages, patience)
    ahead.took(0.5, 2 * MOST_BYTES, fetched=True)
    assert ahead.messages == 1


def test_what_is_taken_ahead_is_done_in_a_moment() -> None:
    assert Ahead().messages == 1
    assert after(0.0001) == MOST_MESSAGES
    assert after(0.1) == 2
    assert after(1.0) == after(3600.0) == 1
    for seconds in (0.002, 0.01, 0.03, 0.2):
        assert (after(seconds) - 1) * seconds <= 1.5 * AHEAD_SECONDS


def test_large_messages_are_few_as_soon_as_one_is_seen() -> None:
    assert after(0.0001, 1_000_000) * 1_000_000 <= MOST_BYTES
    ahead = Ahead()
    for _ in range(1000):
        ahead.took(0.0001, 1000)
    ahead.took(0.0001, MOST_BYTES)
    assert ahead.messages == 1


def test_one_page_that_was_held_up_does_not_hold_up_the_rest() -> None:
    ahead = Ahead()
    for number in range(2000):
        ahead.took(0.004 if number % 50 == 0 else 0.0001, 1000)
    assert ahead.messages == MOST_MESSAGES


# -- out -----------------------------------------------------------------------------------------------------------------


class Channel:
    """The parts of pika's channel that a window and an intake use; remembers the calls."""

    def __init__(self) -> None:
        self.is_open = True
        self.published: list[tuple[str, bytes]] = []
        self.answers: list[tuple[str, int, bool]] = []
        self.callbacks = SimpleNamespace(remove=lambda *_: None)
        self.on: dict[str, Callable[..., None]] = {}

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on["close"] = callback

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self.on["return"] = callback

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        self.on["cancel"] = callback

    def confirm_delivery(self, callback: Callable[..., None]) -> None:
        self.on["confirm"] = callback

    def basic_publish(self, _exchange: str, queue: str, body: bytes, _properties: object, mandatory: bool) -> None:
        assert mandatory
        self.published.append((queue, body))

    def basic_consume(self, queue: str, callback: Callable[..., None], consumer_tag: str) -> None:
        self.on[queue] = callback

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.answers.append(("ack", tag, multiple))

    def basic_nack(self, tag: int, requeue: bool) -> None:
        self.answers.append(("nack", tag, requeue))

    def confirm(self, tag: int, *, multiple: bool = False) -> None:
        self.on["confirm"](SimpleNamespace(method=spec.Basic.Ack(tag, multiple)))

    def bounce(self, queue: str, body: bytes) -> None:
        self.on["return"](self, spec.Basic.Return(routing_key=queue), None, body)


class Out:
    """A window, and what becomes of the messages `a`, `b`, ... sent through it."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.became: dict[bytes, PeroWorkerError | None] = {}
        self.channels: list[Channel] = []
        self.window = Window(self.open, self.acknowledged.extend)
        self.open(self.window.opened)

    def open(self, opened: Callable[[Any], None]) -> None:
        self.channels.append(Channel())
        opened(self.channels[-1])

    @property
    def channel(self) -> Channel:
        return self.channels[-1]

    def send(self, body: bytes, answers: int = 0, queue: str = "q") -> None:
        def done(error: PeroWorkerError | None) -> None:
            self.became[body] = error

        self.window.send(Sending(queue=queue, body=body, answers=answers, done=done))


def test_what_a_message_answers_is_acknowledged_when_it_is_confirmed_not_before() -> None:
    out = Out()
    for number, body in enumerate((b"a", b"b", b"c", b"d"), 11):
        out.send(body, number)
    assert len(out.channel.published) == 4 and out.acknowledged == [] and out.became == {}
    out.channel.confirm(2)
    assert out.acknowledged == [12] and out.became == {b"b": None}
    out.channel.confirm(3, multiple=True)
    assert out.acknowledged == [12, 11, 13] and set(out.became) == {b"a", b"b", b"c"}


def test_what_no_queue_gets_is_told_from_its_neighbours_and_stays_in_hand() -> None:
    out = Out()
    out.send(b"a", 1)
    out.send(b"b", 2, "nowhere")
    out.send(b"c", 3, "nowhere")
    out.send(b"d", 4)
    out.channel.bounce("nowhere", b"c")
    out.channel.confirm(4, multiple=True)
    assert out.acknowledged == [1, 2, 4]
    assert isinstance(out.became[b"c"], RequestError) and "'nowhere'" in str(out.became[b"c"])
    assert [out.became[body] for body in (b"a", b"b", b"d")] == [None, None, None]


def test_what_rabbitmq_cannot_take_now_is_not_acknowledged() -> None:
    out = Out()
    out.send(b"a", 1)
    out.channel.on["confirm"](SimpleNamespace(method=spec.Basic.Nack(1, False)))
    assert out.acknowledged == [] and isinstance(out.became[b"a"], TransientError)


def test_a_large_message_goes_alone_and_its_refusal_is_its_own() -> None:
    out, large = Out(), b"x" * (LARGE_BYTES + 1)
    out.send(b"a", 1)
    out.send(large, 2)
    out.send(b"b", 3)
    assert [body for _, body in out.channel.published] == [b"a"]
    out.channel.confirm(1)
    assert [body for _, body in out.channel.published] == [b"a", large]
    refusal = ChannelClosedByBroker(406, "message size 4000001 is larger than configured max size 1000")
    out.channel.on["close"](out.channel, refusal)
    assert isinstance(out.became[large], RequestError) and "max_message_size" in str(out.became[large])
    assert out.channel.published == [("q", b"b")] and len(out.channels) == 2
    out.channel.confirm(1)
    assert out.acknowledged == [1, 3]


def test_a_lost_connection_leaves_nobody_waiting() -> None:
    out, large = Out(), b"x" * (LARGE_BYTES + 1)
    out.send(b"a", 1)
    out.send(large, 2)
    out.window.fail(TransientError("lost"))
    assert {type(error) for error in out.became.values()} == {TransientError} and len(out.became) == 2
    assert out.acknowledged == []


@pytest.mark.parametrize("sizes", [[], [1], [10, 20, 30], [70_000, 1, 2, 130_000, 3], [40_000] * 5])
def test_what_is_small_is_written_together_in_order(sizes: list[int]) -> None:
    chunks = [bytes([number]) * size for number, size in enumerate(sizes, 1)]
    joined = deque(chunks)
    join(joined)
    assert b"".join(joined) == b"".join(chunks)
    assert all(len(chunk) <= 65_536 or chunk in chunks for chunk in joined)
    assert len(joined) <= 1 or all(len(one) + len(two) > 65_536 for one, two in pairwise(joined))


# -- in ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "answers"),
    [
        ([[1]], [("ack", 1, False)]),
        ([[1, 2, 3]], [("ack", 3, True)]),
        ([[3, 2]], [("ack", 3, False), ("ack", 2, False)]),
        ([[2, 3], [1, 4]], [("ack", 2, False), ("ack", 3, False), ("ack", 4, True)]),
        ([[1, 2, 5]], [("ack", 2, True), ("ack", 5, False)]),
    ],
)
def test_many_are_acknowledged_with_one_word_and_none_that_is_still_in_hand(
    done: list[list[int]], answers: list[tuple[str, int, bool]]
) -> None:
    channel: Any = Channel()
    intake = Intake(channel, 1, lambda *_: None)
    intake.begin("q", "w")
    for tag in range(1, 6):
        channel.on["q"](channel, spec.Basic.Deliver(delivery_tag=tag, redelivered=False), spec.BasicProperties(), b"")
    for tags in done:
        intake.acknowledge(tags)
    assert channel.answers == answers
