"""Whether RabbitMQ has stopped taking messages, for want of disk or memory.

It says so only to connections that publish; from then on it reads nothing more from them. So this asks on a connection
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
"""RabbitMQ tells of an alarm at once."""


def raised_alarms(access: BrokerAccess) -> tuple[str, ...]:
    """Reasons as RabbitMQ words them (`low on disk`); empty: it takes messages. TransientError: it is away."""
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
            # It reads nothing any more, not even a good-bye.
            connection._impl._transport.abort()
        else:
            connection.close()
    return tuple(reasons)
