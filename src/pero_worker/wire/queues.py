"""RabbitMQ queues and message properties, as upstream declares them: other arguments would be refused (406)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from pero_worker.work import QueueKind

QUEUE_ARGUMENTS: Mapping[str, object] = MappingProxyType({"x-max-priority": 1, "x-queue-type": "classic"})
"""Of every stage and output queue, as upstream's newest. For RabbitMQ they equal the seed's, which name no type; but a
virtual host may have another type as its default."""
_QUORUM_ARGUMENTS: Mapping[str, object] = MappingProxyType({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000})
"""RabbitMQ 4 drops a message that came back twenty times, and workers give pages back while a server is away: they
count themselves. No limit at all is written differently in RabbitMQ 3 and 4; a high one is the same in both."""


def arguments_of(kind: QueueKind, expires: int = 0) -> dict[str, object]:
    """What a queue is declared with; `expires`: as in `ports.Queues.declare`."""
    arguments = QUEUE_ARGUMENTS if kind is QueueKind.CLASSIC else _QUORUM_ARGUMENTS
    return {**arguments, **({"x-expires": 1000 * expires} if expires else {})}


DEAD_LETTERS = "pero.dead"
"""Ours: messages that cannot be used, with the headers REASON and ORIGIN."""

REASON = "x-pero-reason"
ORIGIN = "x-pero-queue"

LOG_QUEUE = "log"
"""One line of text a message; upstream's log daemon and ours empty it."""

TRACEPARENT = "traceparent"
"""Ours: a header that says where a page is in a trace, as W3C Trace Context writes it. Only with tracing on."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

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


_FIRST_HIGH = 5
"""From here on, quorum queues of RabbitMQ 4 send a message first; for those of RabbitMQ 3 all are equal. Classic queues
cut whatever is above their `x-max-priority` of 1."""


def priority(value: int) -> int:
    """What stands in a message's properties: 0 for ordinary pages, something from 5 to 255 for those that go first."""
    return min(value + _FIRST_HIGH - 1, 255) if value > 0 else 0


def traceparent_of(headers: Mapping[str, object] | None) -> str:
    """The place in a trace that a message's headers tell; '' = none, or no valid one."""
    text = headers.get(TRACEPARENT) if headers else None
    return text if isinstance(text, str) and _TRACEPARENT.fullmatch(text) else ""


def headers_of(traceparent: str, more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str] | None:
    """A message's headers; None, as upstream's messages have, where there is nothing to say."""
    return {**more, **({TRACEPARENT: traceparent} if traceparent else {})} or None
