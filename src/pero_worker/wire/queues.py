"""RabbitMQ queues and message properties as upstream declares them; other arguments would be refused (406)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from pero_worker.work import QueueKind

QUEUE_ARGUMENTS: Mapping[str, object] = MappingProxyType({"x-max-priority": 1, "x-queue-type": "classic"})
"""Arguments of every stage and output queue, as in the newest upstream. To RabbitMQ they equal the seed's, which name
no type; but a virtual host may have another type as its default."""
_QUORUM_ARGUMENTS: Mapping[str, object] = MappingProxyType({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000})
"""RabbitMQ 4 drops a message that was returned twenty times, but workers return pages while a server is away, and do
their own counting. No limit at all is written differently in RabbitMQ 3 and 4; a high one is the same in both."""


def arguments_of(kind: QueueKind, expires: int = 0) -> dict[str, object]:
    """Returns what a queue is declared with; for `expires`, see `ports.Queues.declare`."""
    arguments = QUEUE_ARGUMENTS if kind is QueueKind.CLASSIC else _QUORUM_ARGUMENTS
    return {**arguments, **({"x-expires": 1000 * expires} if expires else {})}


DEAD_LETTERS = "pero.dead"
"""Ours: the queue of messages that cannot be used, with the headers REASON and ORIGIN."""

REASON = "x-pero-reason"
ORIGIN = "x-pero-queue"

LOG_QUEUE = "log"
"""One line of text per message; upstream's log daemon and ours empty it."""

TRACEPARENT = "traceparent"
"""Ours: a header with the page's place in a trace, in the form of W3C Trace Context. Sent only with tracing on."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

DEFAULT_VHOSTS = ("/", "pero")
"""The seed's and the newest upstream's."""

PERSISTENT = 2
"""The AMQP delivery mode of persistent messages."""

MAX_MESSAGE_BYTES = 536_870_912
"""The greatest `max_message_size` of RabbitMQ. The default of RabbitMQ 4 is 16 MiB, less than a large scan."""
MAX_PAGE_MILLISECONDS = 86_400_000
"""For `consumer_timeout`, in milliseconds; by default, RabbitMQ takes a page away from a worker that has had it for 30
minutes."""


MAX_NAME_BYTES = 255
"""AMQP allows no longer names."""


@lru_cache(1024)
def is_queue_name(name: str) -> bool:
    """Whether RabbitMQ can have a queue of that name that our programs may use: names in `amq.` are its own."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= MAX_NAME_BYTES and not name.startswith("amq.")


def priority(value: int) -> int:
    """Returns what may stand in a message's properties, 0 to 255. As in upstream's messages, it is the page's own."""
    return min(max(value, 0), 255)


def traceparent_of(headers: Mapping[str, object] | None) -> str:
    """Returns the place in a trace that a message's headers give; '' if there is none, or no valid one."""
    text = headers.get(TRACEPARENT) if headers else None
    return text if isinstance(text, str) and _TRACEPARENT.fullmatch(text) else ""


def headers_of(traceparent: str, more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str] | None:
    """Returns a message's headers; None, as in upstream's messages, if there is nothing to say."""
    return {**more, **({TRACEPARENT: traceparent} if traceparent else {})} or None
