"""RabbitMQ queues and message properties, as upstream declares them: other arguments would be refused (406)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

QUEUE_ARGUMENTS: Mapping[str, object] = MappingProxyType({"x-max-priority": 1})
"""Of every stage and output queue; equal, for RabbitMQ, to upstream's newest that name `x-queue-type: classic`, too."""

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


def priority(value: int) -> int:
    """What may stand in a message's properties: 0 to 255."""
    return min(max(value, 0), 255)
