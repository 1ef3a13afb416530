"""Turns a page of a document into the request that carries it, with the image inside the message."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

from PIL import Image as Pillow

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.cluster.registry.stages import StageRecord
from pero_worker.engines.registry import needs_layout
from pero_worker.errors import PageError, RequestError, StageError, TransientError
from pero_worker.inputs.documents import is_pdf, read_page
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.beside import layout_of
from pero_worker.jobs.plan import PageTask
from pero_worker.ports import Clock, Payloads
from pero_worker.request import Payload, Request
from pero_worker.stage import parse_config
from pero_worker.wire.requests import encode_request

_PATIENCE_SECONDS = 600
FIRST_PAGES = 16
"""The first pages of every job go ahead of other jobs' remaining ones, so that a small job need not wait for a large
one."""


def priority_of(wanted: int | None, number: int) -> int:
    """Returns the priority of page `number` of a job, counted from 0; `wanted` is None if none was asked for."""
    return int(number < FIRST_PAGES) if wanted is None else wanted


def reads_layouts(record: StageRecord) -> bool:
    """Returns whether a stage needs a layout with the page."""
    try:
        return needs_layout(parse_config(record.config, record.name))
    except StageError:
        return False


def request_for(
    task: PageTask,
    stages: tuple[str, ...],
    *,
    job: str,
    page_id: str,
    now: datetime,
    dpi: int,
    apart: ProcessApart,
    priority: int = 0,
    with_layout: bool = False,
) -> Request:
    """Builds the request for a page. A file that is one page is sent unchanged; a page of a document is sent as a PNG,
    made in `apart`. With `with_layout`, the layout that lies next to it is included. Raises `PageError` if the page
    cannot be read."""
    layout = layout_of(task) if with_layout else None
    image = _payload(task, dpi, apart)
    return Request(
        uuid=page_id,
        page_uuid=page_id,
        stages=stages,
        results=(image, layout) if layout else (image,),
        priority=priority,
        start_time=now,
        job=job,
        source=task.name,
    )


def _payload(task: PageTask, dpi: int, apart: ProcessApart) -> Payload:
    return image_payload(task.path, task.frame, task.image_name, whole_file=task.is_whole_file, dpi=dpi, apart=apart)


def image_payload(path: Path, frame: int, name: str, *, whole_file: bool, dpi: int, apart: ProcessApart) -> Payload:
    """Returns page `frame` (from 0) of a file: the file unchanged if that is all of it and it is not a PDF, otherwise
    as a PNG, made in `apart`. Raises `PageError` if it cannot be read."""
    try:
        if whole_file and not is_pdf((content := path.read_bytes())[:1024]):
            return Payload(name=name, content=content)
    except OSError as error:
        raise PageError(f"cannot read {path}: {error.strerror}", permanent=True) from error
    return Payload(name=f"{name.rpartition('.')[0] or name}.png", content=apart.call(_as_png, path, frame, dpi))


def _as_png(path: Path, index: int, dpi: int) -> bytes:
    scan = read_page(path, index, dpi=dpi)
    across = scan.dpi or 100.0
    density = {"dpi": (across, across * scan.aspect)} if scan.dpi or scan.aspect != 1 else {}
    stream = io.BytesIO()
    # Fast, for 10 % more bytes.
    Pillow.fromarray(scan.image[:, :, ::-1]).save(stream, "PNG", compress_level=1, **density)
    return stream.getvalue()


def send_with_retry(broker: RabbitBroker, payloads: Payloads, request: Request, clock: Clock) -> int:
    """Publishes a request to its stage, waiting up to ten minutes while RabbitMQ or the payload store is away. Returns
    the size of the message in bytes. Raises `PageError` if it is refused."""
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            packed = payloads.pack(request, request.stage)
            break
        except TransientError:
            if clock.monotonic() > deadline:
                raise
            clock.sleep(0.5)
    body = encode_request(packed)
    publish_with_retry(broker, request.stage, body, request.priority, clock)
    return len(body)


def publish_with_retry(broker: RabbitBroker, queue: str, body: bytes, priority: int, clock: Clock) -> None:
    """Publishes a message, waiting up to ten minutes while RabbitMQ is away. Raises `PageError` if it is refused.

    If a confirmation is lost, the page is sent twice; the downloader recognises it by its id.
    """
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            broker.publish(queue, body, priority)
        except RequestError as error:
            raise PageError(str(error), permanent=True) from error
        except TransientError:
            if clock.monotonic() > deadline:
                raise
            clock.sleep(0.5)
        else:
            return
