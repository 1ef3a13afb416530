"""RabbitMQ queues and message properties, as upstream declares them: other arguments would be refused (406)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

QUEUE_ARGUMENTS: Mapping[str, object] = MappingProxyType({"x-max-priority": 1, "x-queue-type": "classic"})
"""Of every stage and output queue, as upstream's newest. For RabbitMQ they equal the seed's, which name no type; but a
virtual host may have another type as its default."""

DEAD_LETTERS = "pero.dead"
"""Ours: messages that cannot be used, with the headers REASON and ORIGIN."""

REASON = "x-pero-reason"
ORIGIN = "x-pero-queue"

LOG_QUEUE = "log"
"""One line of text a message; upstream's log daemon and ours empty it."""

DEFAULT_VHOSTS = ("/", "pero")
"""The seed's and the newest upstream's."""

PERSISTENT = 2
"""Delivery mode."""

MAX_MESSAGE_BYTES = 536_870_912
"""Bytes: the most that RabbitMQ's `max_message_size` can be. RabbitMQ 4 begins with 16 MiB, less than a large scan."""
MAX_PAGE_SECONDS = 86_400_000
"""Milliseconds for `consumer_timeout`: RabbitMQ takes a page away from a worker that has had it for 30 minutes."""


MAX_NAME_BYTES = 255
"""AMQP has no longer names."""


@lru_cache(1024)
def is_queue_name(name: str) -> bool:
    """Whether RabbitMQ can have a queue of that name, and our programs use it: `amq.` is its own."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= MAX_NAME_BYTES and not name.startswith("amq.")


def priority(value: int) -> int:
    """What may stand in a message's properties: 0 to 255."""
    return min(max(value, 0), 255)
