"""A TCP proxy that misbehaves when told to: cuts connections, holds bytes back, is slow."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field

_BLOCK = 65536
ZOOKEEPER_NONSENSE = b"\0\0\0\2xx"
"""A message too short to have a header."""
AMQP_NONSENSE = b"\x09\0\0\0\0\0\0\xce"
"""A frame of a kind that does not exist."""


@dataclass
class _Way:
    """One direction of a connection: what was read from `source` waits for `target`, each piece until its time."""

    source: socket.socket
    target: socket.socket
    to_client: bool
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`to`, in one thread."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._ways: list[_Way] = []
        self._lock = threading.Lock()
        self._closing = False
        self.held = False
        self.refusing = False
        self.hanging_up = False
        self.delay = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """Closes all connections at once and returns how many there were."""
        with self._lock:
            doomed = {end for way in self._ways for end in (way.source, way.target)}
            self._ways.clear()
        for end in doomed:
            # A reset, as if the machine were gone.
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.close()
        return len(doomed) // 2

    def half_close(self) -> None:
        """Stops the servers' answers from coming through, though no one hangs up."""
        with self._lock:
            for way in self._ways:
                with contextlib.suppress(OSError):
                    way.target.shutdown(socket.SHUT_RD)

    def garble(self, data: bytes) -> None:
        """Sends clients bytes that no server sent."""
        with self._lock:
            for way in self._ways:
                if way.to_client:
                    way.waiting.append((0.0, data))

    def close(self) -> None:
        self._closing = True
        self._thread.join(5)
        self.cut()
        self._listener.close()

    def _run(self) -> None:
        while not self._closing:
            with self._lock:
                ways = list(self._ways)
            with selectors.DefaultSelector() as selector:
                if not self.refusing:
                    selector.register(self._listener, selectors.EVENT_READ)
                for way in ways:
                    with contextlib.suppress(ValueError, KeyError, OSError):
                        if not self.held:
                            selector.register(way.source, selectors.EVENT_READ, way)
                ready = selector.select(0.005 if any(way.waiting for way in ways) else 0.02)
            for key, _ in ready:
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.data)
            if not self.held:
                for way in ways:
                    self._write(way)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if self.hanging_up:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._to), 2)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._ways += [_Way(client, server, to_client=False), _Way(server, client, to_client=True)]

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(_BLOCK)
        except OSError:
            data = b""
        way.waiting.append((time.monotonic() + self.delay, data))

    def _write(self, way: _Way) -> None:
        while way.waiting and way.waiting[0][0] <= time.monotonic():
            _, data = way.waiting.popleft()
            try:
                if not data:
                    raise ConnectionError
                way.target.sendall(data)
            except OSError:
                self._drop(way)
                return

    def _drop(self, way: _Way) -> None:
        with self._lock:
            pair = {way.source, way.target}
            self._ways = [other for other in self._ways if not {other.source, other.target} & pair]
        for end in pair:
            end.close()
