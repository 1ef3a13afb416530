"""ProcessingRequest on the wire: protobuf bytes in, a frozen `Request` out, and back without loss.

Fields that a newer program added are carried along byte for byte in the records' `extra`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from pero_worker.errors import RequestError
from pero_worker.request import Payload, Request, StageLog
from pero_worker.wire import message_pb2 as pb
from pero_worker.wire.queues import is_queue_name

MAX_STAGES = 256
"""Maximum number of stages in a request: each of them takes a worker some time, whatever its model does."""
MAX_RESULTS = 1000
MAX_LOGS = 2000
"""A page with the most stages, each tried three times, has 768."""
_MAX_PHASES = 100
_MAX_JOULES = 1e12
_MAX_ID_BYTES = 1000
_MAX_SOURCE_BYTES = 20_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode_request(body: bytes) -> Request:
    """Parses a message. Raises `RequestError` if it is not a request, or its stages cannot exist."""
    try:
        message = pb.ProcessingRequest.FromString(body)
    except DecodeError as error:
        raise RequestError(f"the message is not a ProcessingRequest ({len(body)} bytes): {error}") from error
    _check(message)
    return Request(
        uuid=message.uuid,
        page_uuid=message.page_uuid,
        stages=tuple(message.processing_stages),
        results=tuple(
            Payload(name=r.name, content=r.content, reference=r.reference, extra=_unknown(r)) for r in message.results
        ),
        logs=tuple(_log(entry) for entry in message.logs),
        priority=message.priority,
        start_time=_time(message.start_time) if message.HasField("start_time") else None,
        job=message.job,
        source=message.source,
        superseded=tuple(message.superseded),
        extra=_unknown(message),
    )


def decode_waiting(body: bytes, queue: str) -> Request:
    """Parses a page that came from the queue of a stage.

    Raises `RequestError` as `decode_request` does, or if the page does not belong in that queue.
    """
    request = decode_request(body)
    if request.stage != queue:
        raise RequestError(f"the request waits for stage {request.stage!r} but came from queue {queue!r}")
    if len(request.stages) < 2:
        raise RequestError(f"the request names no output queue after stage {request.stage!r}")
    return request


def encode_request(request: Request) -> bytes:
    message = pb.ProcessingRequest()
    _add(message, request.extra)
    message.uuid = request.uuid
    message.page_uuid = request.page_uuid
    message.priority = request.priority
    message.job, message.source = request.job, request.source
    message.superseded.extend(request.superseded)
    if request.start_time is not None:
        _set_time(message.start_time, request.start_time)
    message.processing_stages.extend(request.stages)
    for payload in request.results:
        # Built in place, because `append` would copy the image.
        data = message.results.add()
        _add(data, payload.extra)
        data.name, data.content, data.reference = payload.name, payload.content, payload.reference
    for log in request.logs:
        entry = message.logs.add()
        _add(entry, log.extra)
        entry.host_id, entry.stage, entry.status = log.host_id, log.stage, str(log.status)
        entry.log, entry.version = log.log, log.version
        entry.engine, entry.failure_class = log.engine, log.failure_class
        entry.seconds.update(log.seconds)
        entry.attempt = log.attempt
        entry.energy_joules = log.energy_joules or 0.0
        _set_time(entry.start, log.start)
        _set_time(entry.end, log.end)
    return message.SerializeToString(deterministic=True)


def _check(message: pb.ProcessingRequest) -> None:
    """Raises `RequestError` if nothing can be done with the message, or it would be far too costly."""
    name = message.uuid
    if not message.processing_stages or not all(message.processing_stages):
        raise RequestError(f"request {_named(name)} names no stage to go to")
    for what, number, most in (
        ("stages", len(message.processing_stages), MAX_STAGES),
        ("results", len(message.results), MAX_RESULTS),
        ("logs", len(message.logs), MAX_LOGS),
        ("superseded results", len(message.superseded), MAX_RESULTS),
    ):
        if number > most:
            raise RequestError(f"request {_named(name)} has {number} {what}; {most} are the most")
    for stage in message.processing_stages:
        if not is_queue_name(stage):
            why = "RabbitMQ keeps such names to itself" if stage[:4] == "amq." else "no queue can have a name so long"
            raise RequestError(f"request {_named(name)} is to go to {stage[:40]!r}: {why}")
    for what, text, most in (
        ("id", message.uuid, _MAX_ID_BYTES),
        ("page's id", message.page_uuid, _MAX_ID_BYTES),
        ("job", message.job, _MAX_ID_BYTES),
        ("source", message.source, _MAX_SOURCE_BYTES),
    ):
        # A character has four bytes at most, so few texts have to be counted.
        if 4 * len(text) > most and len(text.encode()) > most:
            raise RequestError(f"request {_named(name)}: its {what} has more than {most} bytes")


def _named(uuid: str) -> str:
    return repr(uuid[:100]) if uuid else "?"


def _seconds(found: Mapping[str, float]) -> dict[str, float]:
    """Returns those that are times, without NaN and infinity."""
    times = {phase: value for phase, value in found.items() if math.isfinite(value)}
    return dict(islice(times.items(), _MAX_PHASES))


def _energy(joules: float) -> float | None:
    """Returns the energy; None if nobody measured it, or if it cannot be one."""
    return joules if math.isfinite(joules) and 0 < joules < _MAX_JOULES else None


def _log(entry: pb.StageLog) -> StageLog:
    return StageLog(
        host_id=entry.host_id,
        stage=entry.stage,
        start=_time(entry.start),
        end=_time(entry.end),
        status=entry.status,
        log=entry.log,
        version=entry.version,
        engine=entry.engine,
        failure_class=entry.failure_class,
        seconds=_seconds(entry.seconds),
        attempt=entry.attempt,
        energy_joules=_energy(entry.energy_joules),
        extra=_unknown(entry),
    )


def _time(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"the request holds a time outside the calendar: {error}") from error


def _unknown(message: Message) -> bytes:
    """Returns the serialized fields that this program's message.proto does not know.

    Most messages have none and are large, so a message is copied only if it has some.
    """
    if not len(UnknownFieldSet(message)):
        return b""
    rest = type(message)()
    rest.CopyFrom(message)
    for known in rest.DESCRIPTOR.fields:
        rest.ClearField(known.name)
    return rest.SerializeToString()


def _add(message: Message, extra: bytes) -> None:
    if extra:
        message.MergeFromString(extra)


def _set_time(stamp: Timestamp, when: datetime) -> None:
    """Does the same as `FromDatetime`, in a third of the time."""
    since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    stamp.seconds, stamp.nanos = since.days * 86400 + since.seconds, since.microseconds * 1000
