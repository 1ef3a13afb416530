"""Sends workers' log lines to RabbitMQ's log queue, one line of text per message, as upstream does.

The worker's own job comes first: a line that cannot be sent in time is dropped and counted, and nothing ever waits for
it.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pero_worker.ports import Clock
from pero_worker.text import one_line
from pero_worker.wire.queues import LOG_QUEUE
from pero_worker.work import QueueState

_LOOK_SECONDS = 10.0
_CONNECTIONS = ("pero_worker.brokers", "pika")


class LogBroker(Protocol):
    """What sending log lines needs; `brokers.rabbitmq.RabbitBroker` provides it."""

    @property
    def connected(self) -> bool: ...

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None: ...

    def state(self, queue: str) -> QueueState | None: ...


class LineFormatter(logging.Formatter):
    """Formats `<time in UTC> <host> <worker> <LEVEL> <message>`, with any traceback on the same line."""

    converter = staticmethod(time.gmtime)

    def __init__(self, worker: str) -> None:
        super().__init__(f"%(asctime)s {_escaped(socket.gethostname())} {_escaped(worker)} %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


class LogSender(logging.Handler):
    """Publishes records from a thread of its own; `dropped` counts those that could not be sent.

    After a burst of `burst` lines, at most `rate` lines a second are accepted. While RabbitMQ is away, up to `burst`
    lines wait here; while nobody reads the queue, it holds no more than `most`. Records from the connection to RabbitMQ
    itself are not sent.
    """

    def __init__(
        self,
        broker: LogBroker,
        worker: str,
        clock: Clock,
        *,
        queue_name: str = LOG_QUEUE,
        rate: float = 50,
        burst: int = 500,
        most: int = 100_000,
    ) -> None:
        super().__init__()
        self.setFormatter(LineFormatter(worker))
        self.dropped = 0
        self._broker = broker
        self._clock = clock
        self._queue_name = queue_name
        self._rate = rate
        self._burst = burst
        self._most = most
        self._next_look = clock.monotonic()
        self._full = False
        self._allowed = float(burst)
        self._counted_at = clock.monotonic()
        self._lines: queue.Queue[str] = queue.Queue(burst)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="log sender", daemon=True)
        self._thread.start()

    def filter(self, record: logging.LogRecord) -> bool:
        # Decided before the handler's lock is taken: our own thread must not wait for a `close` that waits for it.
        own = threading.get_ident() == self._thread.ident or record.name.startswith(_CONNECTIONS)
        return not own and not self._closing.is_set() and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a faulty logging call must not make the worker fail
            self.handleError(record)
            return
        if not self._within_rate():
            self.dropped += 1
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Sends the lines still waiting, for two seconds at most."""
        self._closing.set()
        self._thread.join(2)
        super().close()

    def _within_rate(self) -> bool:
        now = self._clock.monotonic()
        self._allowed = min(self._burst, self._allowed + (now - self._counted_at) * self._rate)
        self._counted_at = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _send_all(self) -> None:
        told = 0
        while True:
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                if self._closing.is_set():
                    return
                if told == self.dropped or not self._broker.connected:
                    continue
                told = self.dropped
                line = self._line(logging.WARNING, f"{told} log lines were dropped so far")
            while not self._broker.connected:
                if self._closing.wait(0.2):
                    return
            try:
                if self._queue_is_full():
                    told += 1
                    self.dropped += 1
                    continue
                self._broker.publish(self._queue_name, line.encode("utf-8", "backslashreplace"))
            except Exception:  # whatever happened, the thread goes on with the next line
                # The queue is missing, or the connection was lost. `told` grows too: this loss is not reported.
                told += 1
                self.dropped += 1

    def _queue_is_full(self) -> bool:
        """Returns whether lines pile up because no log daemon runs: RabbitMQ's disk is needed for pages."""
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            state = self._broker.state(self._queue_name)
            self._full = state is not None and state.messages >= self._most
        return self._full

    def _line(self, level: int, message: str) -> str:
        return self.format(logging.LogRecord(__name__, level, __file__, 0, message, None, None))


@contextmanager
def sending_logs(
    broker: LogBroker, worker: str, clock: Clock, level: int = logging.INFO, queue_name: str = LOG_QUEUE
) -> Iterator[LogSender]:
    """Within the `with` block, sends the program's log records of `level` or above as `worker`. Loggers keep their
    levels."""
    sender = LogSender(broker, worker, clock, queue_name=queue_name)
    sender.setLevel(level)
    logger = logging.getLogger("pero_worker")
    logger.addHandler(sender)
    try:
        yield sender
    finally:
        logger.removeHandler(sender)
        sender.close()
