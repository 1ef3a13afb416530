"""The ports between the rooms. `worker/` knows brokers, coordinators and model stores by these protocols alone."""

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
    """Moves messages. Whoever got a delivery settles it exactly once: hand_on, ack, give_back or set_aside."""

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        """The next message of any of `queues`, or None after `timeout` seconds; TransientError: the broker is away."""

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None:
        """Hands a message on; returns when the broker has it for good. RequestError: no such queue."""

    def hand_on(self, delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        """Publishes what became of the delivery and, once the broker has it for good, acknowledges: a crash between
        the two repeats the page, never loses it. TransientError: the delivery is not in hand any more."""

    def hand_on_soon(
        self,
        delivery: Delivery,
        queue: str,
        body: bytes,
        priority: int,
        done: Callable[[PeroWorkerError | None], None],
    ) -> None:
        """`hand_on` that need not wait: `done` is called, from any thread, with None or with what `hand_on` would have
        raised. What is known at once is raised at once."""

    def ack(self, delivery: Delivery) -> None: ...

    def give_back(self, delivery: Delivery) -> None:
        """The message returns to its queue and nothing is charged to it."""

    def set_aside(self, delivery: Delivery, reason: str) -> None:
        """Moves an unusable message to the dead letters."""


class Queues(Protocol):
    """What people's commands and the watchdog do with queues. TransientError: the broker is away."""

    def declare(self, queue: str, expires: int = 0, kind: QueueKind = QueueKind.CLASSIC) -> None:
        """Makes a queue; an existing one stays as it is. `expires`: seconds after which it is deleted when
        nobody has used it, 0 = never."""

    def convert(self, queue: str, kind: QueueKind) -> None:
        """Makes a queue of this kind, also in place of one of the other that is empty and that nobody uses. UsageError:
        it cannot be replaced."""

    def state(self, queue: str) -> QueueState | None:
        """Exact numbers; None when there is no such queue."""

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Messages that are ready, in each queue that exists."""

    def delete(self, queue: str) -> None:
        """With all that is in it."""


class Assignments(Protocol):
    """What a worker is to do."""

    def stage(self, name: str) -> Stage:
        """StageError: no such stage."""

    def assignment(self, worker: str) -> Assignment: ...


class Reports(Protocol):
    """What a worker says of itself. It never fails: what cannot be written down now is written later."""

    def report(self, worker: str, status: WorkerStatus, message: str = "") -> None: ...

    def report_stages(self, worker: str, held: Mapping[str, str], refused: Mapping[str, str]) -> None:
        """The stages that are loaded, with their versions; and those whose present version could not be, with the
        reasons."""

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        """One page of `stage` took `seconds` and goes on to the queue `onward`."""

    def record_load(self, stage: str, seconds: float, memory: int) -> None:
        """Loading `stage` took `seconds`, and it takes `memory` bytes."""

    def record_failure(self, text: str) -> None:
        """A page failed, or a message could not be used: `text` says which and why, in one line."""


class Suspects(Protocol):
    """Counts the workers that died on a page, for brokers that do not."""

    def begin_suspect(self, page: str) -> int:
        """Notes that a page is tried that may have killed a worker; how many workers died on it in such tries.

        TransientError: it is not known now."""

    def end_suspect(self, page: str, *, survived: bool) -> None:
        """The worker lives. `survived`: the try came to an end; else it was broken off through no fault of the page.

        Never fails: what cannot be written down now is written later."""


class ModelStore(Protocol):
    """Brings a stage's model files to this machine."""

    def directory(self, stage: Stage) -> Path:
        """The folder with the stage's unpacked files; StageError when the archive is bad, TransientError when away."""


class Payloads(Protocol):
    """What is too large for messages lies in a store beside the broker. TransientError: the store is away."""

    def bring(self, payload: Payload) -> Payload:
        """With its content; one that lies elsewhere than in the store stays as it is. PageError: it is not there any
        more, or not what was stored."""

    def pack(self, request: Request, queue: str) -> Request:
        """As it may travel to `queue`: with references, or with contents where readers take no references. Errors as
        `bring`."""

    def is_packed(self, request: Request, queue: str) -> bool:
        """Whether `pack` would change nothing."""

    def whole(self, request: Request) -> Request:
        """With all contents. A page of which some cannot be had has failed, and keeps the others."""

    def release(self, references: Iterable[str]) -> None:
        """Nobody needs them any more: they are removed soon, or when they are old."""


class Engine(Protocol):
    """A loaded stage. One thread calls it; a page's result depends on that page alone."""

    needs_image: bool

    @property
    def description(self) -> str:
        """Name and version for reports, as `pero-ocr 0.7.0`."""

    def process(self, work: EngineInput) -> EngineOutput:
        """PageError: this page cannot be done."""

    def close(self) -> None: ...


class EngineFactory(Protocol):
    """What an entry point of the group `pero_worker.engines` names."""

    def __call__(self, config: ConfigParser, directory: Path, device: str) -> Engine:
        """Loads the stage on `device` ('cpu', 'cuda:0'); StageError when it cannot be loaded."""
