"""Whether RabbitMQ has stopped taking messages, for want of disk or memory.

It says so only to connections that publish; then it reads nothing more from them. So this asks on a connection of its
own, with a message that no queue gets.
"""

from __future__ import annotations

import uuid
from typing import Any

import pika
from pika.exceptions import AMQPError

from pero_worker.brokers.rabbitmq import BrokerAccess, connection_parameters
from pero_worker.errors import TransientError

_ANSWER_SECONDS = 0.3
"""RabbitMQ tells of an alarm at once."""


def raised_alarms(access: BrokerAccess) -> tuple[str, ...]:
    """Reasons as RabbitMQ words them (`low on disk`); empty: it takes messages. TransientError: it is away."""
    reasons: list[str] = []

    def blocked(_: Any, frame: Any) -> None:
        reasons.append(str(frame.method.reason))

    last: Exception | None = None
    for parameters in connection_parameters(access):
        try:
            connection = pika.BlockingConnection(parameters)
        except (AMQPError, OSError) as error:
            last = error
            continue
        try:
            connection.add_on_connection_blocked_callback(blocked)
            connection.channel().basic_publish("", f"pero.nobody.{uuid.uuid4().hex}", b"")
            connection.process_data_events(_ANSWER_SECONDS)
            return tuple(reasons)
        except (AMQPError, OSError) as error:
            last = error
        finally:
            if reasons:
                # It reads nothing any more, not even a good-bye.
                connection._impl._transport.abort()
            else:
                connection.close()
    raise TransientError(f"RabbitMQ cannot be asked for alarms: {last or 'no server'}")
