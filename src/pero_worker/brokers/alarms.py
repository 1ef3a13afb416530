"""Whether RabbitMQ has stopped taking messages because it is short of disk space or memory.

It says so only to connections that publish, and from then on reads nothing more from them. So this asks on a connection
of its own, with a message that no queue gets.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from pika.exceptions import AMQPError

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.connection import open_connection
from pero_worker.brokers.link import explain
from pero_worker.errors import TransientError

_ANSWER_SECONDS = 0.3
"""Seconds to wait for an alarm, which RabbitMQ reports at once."""


def raised_alarms(access: BrokerAccess) -> tuple[str, ...]:
    """Returns the reasons as RabbitMQ words them (`low on disk`), none if it takes messages. Raises `TransientError` if
    it is unavailable."""
    reasons: list[str] = []

    def blocked(_: Any, frame: Any) -> None:
        reasons.append(str(frame.method.reason))

    try:
        connection = open_connection(access)
        connection.add_on_connection_blocked_callback(blocked)
        connection.channel().basic_publish("", f"pero.nobody.{uuid.uuid4().hex}", b"")
        connection.process_data_events(_ANSWER_SECONDS)
    except (AMQPError, OSError) as error:
        raise TransientError(f"RabbitMQ cannot be asked for alarms: {explain(error)}") from error
    with suppress(AMQPError, OSError):
        if reasons:
            # RabbitMQ reads nothing more, not even a request to close.
            connection._impl._transport.abort()
        else:
            connection.close()
    return tuple(reasons)
