"""Pages on their way out, with a broker that answers later and from a thread of its own, as RabbitMQ does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.errors import PageError, PeroWorkerError, RequestError, StoreAwayError, TransientError
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.testing import StandingClock
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.work import Delivery
from pero_worker.worker.inline import InlinePayloads
from pero_worker.worker.outbox import Outbox


class LateBroker(MemoryBroker):
    """Answers when it is `let`."""

    def __init__(self) -> None:
        super().__init__(["s1", "out"])
        self.late: list[Callable[[], None]] = []

    def hand_on_soon(
        self,
        delivery: Delivery,
        queue: str,
        body: bytes,
        priority: int,
        done: Callable[[PeroWorkerError | None], None],
    ) -> None:
        def answer() -> None:
            try:
                self.hand_on(delivery, queue, body, priority)
            except (RequestError, TransientError) as error:
                done(error)
            else:
                done(None)

        self.late.append(answer)

    def let(self) -> None:
        late, self.late = self.late, []
        thread = threading.Thread(target=lambda: [answer() for answer in late])
        thread.start()
        thread.join(30)


class Post:
    """An outbox, and what it reports."""

    def __init__(self) -> None:
        self.broker = LateBroker()
        self.arrived: list[Delivery] = []
        self.failed: list[tuple[Delivery, TransientError]] = []
        self.outbox = Outbox(
            self.broker,
            InlinePayloads(),
            set_aside=self.broker.set_aside,
            arrived=self.arrived.append,
            failed=lambda *told: self.failed.append(told),
        )

    def take(self, *stages: str) -> tuple[Delivery, Request]:
        """Makes a page that has been through its stage."""
        page = Request(uuid="r", page_uuid="p", stages=("s1", *stages), results=(Payload(name="a.png", content=b"1"),))
        self.broker.publish("s1", encode_request(page))
        delivery = self.broker.get(("s1",), "w", 0)
        assert delivery is not None
        now = StandingClock().now()
        log = StageLog(host_id="w", stage="s1", start=now, end=now, status=StageStatus.OK)
        return delivery, page.advanced(page.results, log)

    def out(self) -> Request:
        delivery = self.broker.get(("out",), "test", 30)
        assert delivery is not None
        return decode_request(delivery.body)


def test_the_caller_goes_on_and_the_page_arrives_later() -> None:
    post = Post()
    post.outbox.send(*post.take("out"))
    assert not post.outbox.is_empty and post.arrived == [] and post.broker.length("out") == 0
    assert not post.outbox.drain(0)
    post.broker.let()
    assert post.outbox.drain(30) and len(post.arrived) == 1
    assert not post.out().failed


def test_what_no_queue_takes_comes_out_as_failed_without_the_caller() -> None:
    post = Post()
    post.outbox.send(*post.take("nowhere", "out"))
    post.broker.let()
    assert post.outbox.drain(30)
    request = post.out()
    assert request.failed and "nowhere" in request.logs[-1].log and len(post.arrived) == 1


def test_what_no_queue_takes_even_as_failed_is_set_aside() -> None:
    post = Post()
    post.outbox.send(*post.take("nowhere"))
    post.broker.let()
    assert post.outbox.drain(30)
    (letter,) = post.broker.take_set_aside()
    assert "nowhere" in letter.reason


@pytest.mark.parametrize("error", [TransientError("the connection was lost"), ZeroDivisionError()])
def test_what_is_not_known_to_have_arrived_stays_in_hand(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post()
    delivery, request = post.take("nowhere", "out")
    post.outbox.send(delivery, request)

    def lost(*_: object) -> None:
        raise error

    if isinstance(error, TransientError):
        monkeypatch.setattr(post.broker, "hand_on", lost)
    else:
        monkeypatch.setattr(Request, "undelivered", lost)
    post.broker.let()
    assert post.outbox.drain(30)
    ((told, _),) = post.failed
    assert told is delivery and post.arrived == []


def test_the_last_page_waits_for_those_before_it() -> None:
    post = Post()
    post.outbox.send(*post.take("out"))
    last = post.take("nowhere", "out")
    sender = threading.Thread(target=post.outbox.send_last, args=(*last, 30))
    sender.start()
    post.broker.let()
    sender.join(30)
    assert not sender.is_alive() and post.outbox.is_empty
    assert [post.out().failed, post.out().failed] == [False, True]


class Boundary(InlinePayloads):
    """A queue that takes no references; what `gone` names is in the store no more."""

    def __init__(self) -> None:
        self.away = False
        self.gone: set[str] = set()

    def is_packed(self, request: Request, queue: str) -> bool:
        return not any(payload.reference for payload in request.results)

    def bring(self, payload: Payload) -> Payload:
        if self.away:
            raise StoreAwayError("the payload store is away")
        if payload.name in self.gone:
            raise PageError("it is not in the payload store any more", permanent=True)
        return replace(payload, content=payload.content or b"brought", reference="")

    def pack(self, request: Request, queue: str) -> Request:
        return request.with_results(tuple(map(self.bring, request.results)))


def by_reference(request: Request) -> Request:
    results = (Payload(name="a.png", reference="one"), Payload(name="a.xml", reference="two"))
    return replace(request, results=results)


def packing() -> tuple[Post, Boundary]:
    post, boundary = Post(), Boundary()
    post.outbox._payloads = boundary
    return post, boundary


def until_late(post: Post) -> None:
    for _ in range(3000):
        if post.broker.late:
            return
        threading.Event().wait(0.01)
    raise AssertionError("nothing was sent")


def test_contents_are_put_in_beside_the_next_page() -> None:
    post, _ = packing()
    delivery, request = post.take("out")
    post.outbox.send(delivery, by_reference(request))
    until_late(post)
    post.broker.let()
    assert post.outbox.drain(30)
    out = post.out()
    assert [payload.content for payload in out.results] == [b"brought", b"brought"]
    assert out.superseded == ("one", "two") and post.arrived == [delivery]


def test_a_page_is_in_hand_still_when_the_store_is_away() -> None:
    post, boundary = packing()
    boundary.away = True
    delivery, request = post.take("out")
    post.outbox.send(delivery, by_reference(request))
    assert post.outbox.drain(30)
    ((failed, error),) = post.failed
    assert failed == delivery and isinstance(error, StoreAwayError) and post.arrived == []


def test_a_page_that_lost_a_result_fails_and_keeps_the_others() -> None:
    post, boundary = packing()
    boundary.gone = {"a.xml"}
    delivery, request = post.take("out")
    post.outbox.send(delivery, by_reference(request))
    assert post.outbox.drain(30)
    out = post.out()
    assert out.failed and "not in the payload store" in out.logs[-1].log
    assert [payload.name for payload in out.results] == ["a.png"]
    assert set(out.superseded) == {"one", "two"}
