"""Workers' log lines on their way into RabbitMQ's log queue, one line of text a message as upstream writes it.

The worker comes first: a line that cannot be sent in time is dropped and counted, and nothing ever waits for it.
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
    """What sending lines takes; `brokers.rabbitmq.RabbitBroker` is one."""

    @property
    def connected(self) -> bool: ...

    def publish(self, queue: str, body: bytes, priority: int = 0) -> None: ...

    def state(self, queue: str) -> QueueState | None: ...


class LineFormatter(logging.Formatter):
    """`<time in UTC> <host> <worker> <LEVEL> <message>`; a traceback goes into the same line."""

    converter = staticmethod(time.gmtime)

    def __init__(self, worker: str) -> None:
        super().__init__(f"%(asctime)s {_escaped(socket.gethostname())} {_escaped(worker)} %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


class LogSender(logging.Handler):
    """Publishes records from a thread of its own. `dropped` counts those that were not.

    At most `rate` lines a second are taken after a burst of `burst`; as many wait while RabbitMQ is away, and in its
    queue no more than `most` while nobody takes them off. What the connection to RabbitMQ has to say is not sent.
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
        # Before the handler's lock is taken: our own thread must not wait for a `close` that waits for it.
        own = threading.get_ident() == self._thread.ident or record.name.startswith(_CONNECTIONS)
        return not own and not self._closing.is_set() and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a wrong logging call is no reason for the worker to fail
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
        """Sends what waits, for two seconds at most."""
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
            except Exception:  # whatever it is, the thread goes on with the next line
                # There is no such queue, or the connection was lost. What told of dropped lines is none of them.
                told += 1
                self.dropped += 1

    def _queue_is_full(self) -> bool:
        """Whether the log daemon is missing: RabbitMQ's disk is needed for pages."""
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
    """Sends what the program logs meanwhile, from `level` on, as `worker`; levels of loggers stay as they are."""
    sender = LogSender(broker, worker, clock, queue_name=queue_name)
    sender.setLevel(level)
    logger = logging.getLogger("pero_worker")
    logger.addHandler(sender)
    try:
        yield sender
    finally:
        logger.removeHandler(sender)
        sender.close()
