"""Opens RabbitMQ with or without tracing."""

from __future__ import annotations

from collections.abc import Callable

from pero_worker.brokers.access import BrokerAccess
from pero_worker.brokers.ahead import Ahead
from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.tracing import open_sink


def open_rabbit(
    access: BrokerAccess,
    service: str,
    instance: str = "",
    *,
    ahead: Ahead | None = None,
    expect: Callable[[str, bytes], int] = lambda _queue, _body: 0,
) -> RabbitBroker:
    """Returns a broker, with tracing if it is wanted; `service` and `instance` name the sender of the spans, the rest
    is as for `RabbitBroker`."""
    sink = open_sink(service, instance)
    if sink is None:
        return RabbitBroker(access, ahead=ahead, expect=expect)
    from pero_worker.tracing.broker import TracedBroker  # noqa: PLC0415

    return TracedBroker(access, sink, ahead=ahead, expect=expect)
