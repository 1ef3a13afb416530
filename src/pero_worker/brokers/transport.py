"""Makes pika's connections read and write their sockets efficiently when there are many messages.

pika reads 4096 bytes at a time, so that it copies each frame of a large message over and over, and writes each frame
by itself, three per message. Both can be changed on the connection's transport, which is private to pika: with a
version of pika that uses other names, connections stay as slow as pika makes them.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from pika.adapters.blocking_connection import BlockingConnection

logger = logging.getLogger(__name__)
_RECEIVE_BYTES = 32_768
"""With more, pika would copy the rest of it for each small message within; with less, each frame of a large one."""
_TOGETHER_BYTES = 65_536
"""Small pieces are written together with those that follow, up to this size."""


def hasten(connection: BlockingConnection) -> None:
    """Speeds up an open connection; to be called once for each."""
    transport: Any = getattr(connection._impl, "_transport", None)
    produce, buffers = getattr(transport, "_produce", None), getattr(transport, "_tx_buffers", None)
    if not hasattr(transport, "_MAX_RECV_BYTES") or produce is None or not isinstance(buffers, deque):
        logger.debug("this pika cannot be hastened")
        return

    def produce_together() -> None:
        join(transport._tx_buffers)
        produce()

    transport._MAX_RECV_BYTES = _RECEIVE_BYTES
    transport._produce = produce_together


def join(buffers: deque[bytes]) -> None:
    """Joins small buffers that follow one another, in place."""
    if len(buffers) < 2:
        return
    parts: list[bytes] = []
    size = 0
    for _ in range(len(buffers)):
        data = buffers.popleft()
        if parts and size + len(data) > _TOGETHER_BYTES:
            buffers.append(b"".join(parts))
            parts, size = [], 0
        parts.append(data)
        size += len(data)
    buffers.append(b"".join(parts))
