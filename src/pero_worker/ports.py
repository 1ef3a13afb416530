"""The interfaces between packages. `worker/` knows brokers, coordinators and model stores only by these protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from configparser import ConfigParser
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pero_worker.errors import PeroWorkerError
from pero_worker.request import Payload, Request
from pero_worker.stage import Stage
from pero_worker.work import Assignment, Delivery, EngineInput, EngineOutput, QueueKind, QueueState, WorkerStatus


class Clock(Protocol):
    """Time as an injected object, so that tests never sleep."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""

    def sleep(self, seconds: float) -> None: ...


class Broker(Protocol):
    """Moves messages. Whoever receives a delivery settles it exactly once: hand_on, ack, give_back or set_aside."""

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        """Returns the next message of any of `queues`, or None after `timeout` seconds. Raises `TransientError` if the
        broker is away."""

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None:
        """Publishes a message and returns once the broker has stored it safely. Raises `RequestError` if there is no
        such queue."""

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        """Publishes the outcome of the delivery and acknowledges it once the broker has stored the message safely: a
        crash between the two repeats the page but never loses it. Raises `TransientError` if the delivery is no longer
        in hand."""

    def hand_on_soon(
        self,
        delivery: Delivery,
        queue: str,
        body: bytes,
        priority: int,
        done: Callable[[PeroWorkerError | None], None],
    ) -> None:
        """`hand_on` that does not wait: `done` is called, from any thread, with None or with the error that `hand_on`
        would have raised. Errors that are known at once are raised at once."""

    def ack(self, delivery: Delivery) -> None: ...

    def give_back(self, delivery: Delivery) -> None:
        """Returns the message to its queue; this does not count as an attempt."""

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        """Moves an unusable message to the dead letters."""


class Queues(Protocol):
    """Operations on queues for commands and the watchdog. All raise `TransientError` if the broker is away."""

    def declare(self, queue: str, expires: int = 0, kind: QueueKind = QueueKind.CLASSIC) -> None:
        """Creates a queue; an existing one is left as it is. `expires`: seconds without use after which it is deleted,
        0 = never."""

    def convert(self, queue: str, kind: QueueKind) -> None:
        """Creates a queue of this kind, and replaces one of the other kind that is empty and unused. Raises
        `UsageError` if it cannot be replaced."""

    def state(self, queue: str) -> QueueState | None:
        """Returns the exact numbers; None if there is no such queue."""

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Returns the number of ready messages in each queue that exists."""

    def delete(self, queue: str) -> None:
        """Deletes the queue with its messages."""


class Assignments(Protocol):
    """What a worker should do."""

    def stage(self, name: str) -> Stage:
        """Returns the stage. Raises `StageError` if it does not exist."""

    def assignment(self, worker: str) -> Assignment: ...


class Reports(Protocol):
    """What a worker says about itself. Reporting never fails: what cannot be written now is written later."""

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None: ...

    def report_stages(self, worker: str, held: Mapping[str, str], refused: Mapping[str, str]) -> None:
        """Reports the stages that are loaded, with their versions, and those whose current version could not be, with
        the reasons."""

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        """Records that one page of `stage` took `seconds` and went on to the queue `onward`."""

    def record_load(self, stage: str, seconds: float, memory: int) -> None:
        """Records that loading `stage` took `seconds`, and that it takes `memory` bytes."""

    def record_failure(self, text: str) -> None:
        """Records that a page failed, or that a message could not be used; `text` says which and why, in one line."""


class Suspects(Protocol):
    """Counts the workers that died on a page, for brokers that do not count them."""

    def begin_suspect(self, page: str) -> int:
        """Notes that a page that may have killed a worker is tried again. Returns how many workers died on it in such
        tries.

        Raises `TransientError` if the number is not known now.
        """

    def end_suspect(self, page: str, *, survived: bool) -> None:
        """Notes that the worker survived the try. `survived`: the try ended normally; otherwise it was broken off
        through no fault of the page.

        Never fails: what cannot be written now is written later.
        """


class ModelStore(Protocol):
    """Brings a stage's model files to this machine."""

    def directory(self, stage: Stage) -> Path:
        """Returns the folder with the stage's unpacked files. Raises `StageError` if the archive is bad,
        `TransientError` if the store is away."""


class Payloads(Protocol):
    """The store, next to the broker, for what is too large for messages. Its methods raise `TransientError` if the
    store is away."""

    def bring(self, payload: Payload) -> Payload:
        """Returns the payload with its content; one that is kept outside the store is returned unchanged. Raises
        `PageError` if the content is gone, or is not what was stored."""

    def pack(self, request: Request, queue: str) -> Request:
        """Returns the request as it may be sent to `queue`: with references, or with contents if its readers do not
        take references. Raises the errors of `bring`."""

    def is_packed(self, request: Request, queue: str) -> bool:
        """Whether `pack` would change nothing."""

    def whole(self, request: Request) -> Request:
        """Returns the request with all contents. If some cannot be had, the page has failed and keeps the others."""

    def release(self, references: Iterable[str]) -> None:
        """Marks references as no longer needed: they are removed soon, or once they are old."""


class Engine(Protocol):
    """A loaded stage. One thread calls it; a page's result depends on that page alone."""

    needs_image: bool

    @property
    def description(self) -> str:
        """Name and version for reports, such as `pero-ocr 0.7.0`."""

    def process(self, work: EngineInput) -> EngineOutput:
        """Processes a page. Raises `PageError` if it cannot be done."""

    def close(self) -> None: ...


class EngineFactory(Protocol):
    """What an entry point of the group `pero_worker.engines` names."""

    def __call__(self, config: ConfigParser, directory: Path, device: str) -> Engine:
        """Loads the stage on `device` ('cpu', 'cuda:0'). Raises `StageError` if it cannot be loaded."""
