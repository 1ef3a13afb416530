"""Sends pages into the cluster, remembering what was sent, so that an interrupted job can be taken up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, field
from pathlib import Path

import numpy as np
import platformdirs

from pero_worker.brokers.rabbitmq import RabbitBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.layouts import safe_name
from pero_worker.cluster.pages.sending import priority_of, publish_with_retry, request_for
from pero_worker.errors import OutputError, PageError, StageError, UsageError
from pero_worker.inputs.discover import Documents
from pero_worker.inputs.documents import DEFAULT_MAX_PAGES
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.plan import PageTask, open_documents
from pero_worker.ports import Clock, Queues
from pero_worker.wire.requests import encode_request

_LINE = 33
"""Bytes of an id (`page_id_of`) with its newline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """How pages are sent."""

    job: str
    """Name on every page."""
    stages: tuple[str, ...]
    """In their order, the output queue last."""
    priority: int | None = None
    """1 goes before 0; None: as `priority_of` says."""
    dpi: int = 300
    """Resolution at which PDF pages are read that are not scans."""
    max_pages: int = DEFAULT_MAX_PAGES
    """Longer documents are refused."""


@dataclass(slots=True, kw_only=True)
class PublishCounts:
    """What was sent so far."""

    pages: int = 0
    """Pages that were sent."""
    before: int = 0
    """Pages that an earlier run sent."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Pages that could not be sent, with the reasons."""


class SentPages:
    """The ids of a job's pages that RabbitMQ has confirmed, one a line in a file.

    Those of earlier runs are looked up, `_LINE` bytes a page in memory; what is added is not asked for again.
    """

    def __init__(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = file.open("ab+")
            whole = self._stream.tell() // _LINE * _LINE
            self._stream.truncate(whole)  # A torn line at the end is a page to be sent again.
            self._stream.seek(0)
            self._known = np.sort(np.frombuffer(self._stream.read(whole), f"S{_LINE}"))
        except OSError as error:
            raise OutputError(f"cannot remember what was published in {file}: {error.strerror}") from error

    def __contains__(self, page_id: str) -> bool:
        line = _sent_line(page_id)
        place = int(np.searchsorted(self._known, line))
        return place < len(self._known) and bool(self._known[place] == line)

    def add(self, page_id: str) -> None:
        self._stream.write(_sent_line(page_id))
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


def _sent_line(page_id: str) -> bytes:
    return page_id.encode() + b"\n"


def publish_job(
    documents: Documents,
    broker: RabbitBroker,
    sending: PublishOptions,
    published: PublishCounts,
    on_document: Callable[[int], object] = lambda _documents: None,
) -> None:
    """Checks the route and sends what was not sent before, as this user's state folder remembers.

    UsageError, StageError: the pages could not arrive. OutputError: what is sent cannot be remembered.
    """
    check_route(broker, sending.stages)
    sent = SentPages(Path(platformdirs.user_state_dir("pero-worker")) / "jobs" / safe_name(sending.job))
    with closing(sent):
        publish(documents, broker, sending, sent, SystemClock(), published, on_document)


def publish(
    documents: Documents,
    broker: RabbitBroker,
    sending: PublishOptions,
    sent: SentPages,
    clock: Clock,
    published: PublishCounts,
    on_document: Callable[[int], object] = lambda _documents: None,
) -> None:
    """Sends every page of `documents` that was not sent before; one image is in memory at a time. What does not get
    through is in `published`."""
    with closing(ProcessApart()) as apart:
        opened = open_documents(
            documents, "+".join(sending.stages), "", sending.dpi, apart=apart, max_pages=sending.max_pages
        )
        for number, planned in enumerate(opened, 1):
            if planned.error:
                published.failed.append((planned.document.name, planned.error))
            for task in planned.pages if not planned.error else ():
                page_id = page_id_of(sending.job, task)
                if page_id in sent:
                    published.before += 1
                    continue
                try:
                    _send(task, page_id, broker, sending, published.pages + published.before, clock, apart)
                except PageError as error:
                    published.failed.append((task.name, str(error)))
                else:
                    sent.add(page_id)
                    published.pages += 1
            on_document(number)


def check_route(broker: Queues, stages: Sequence[str]) -> None:
    """UsageError, StageError: pages sent along `stages` could not arrive."""
    if len(stages) < 2:
        raise UsageError("name at least one stage, and the output queue last: --stages ocr,out")
    for name in stages:
        if broker.state(name) is None:
            raise StageError(
                f"there is no queue {name!r}: correct the name (pero-worker stage list), or create it with "
                f"pero-worker stage add {name}"
            )


def page_id_of(job: str, task: PageTask) -> str:
    """The same whenever the same file is sent with the same job: 32 hexadecimal digits, as upstream's ids."""
    parts = json.dumps([job, task.name, task.index, astuple(task.fingerprint)])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def _send(
    task: PageTask,
    page_id: str,
    broker: RabbitBroker,
    sending: PublishOptions,
    number: int,
    clock: Clock,
    apart: ProcessApart,
) -> None:
    request = request_for(
        task,
        sending.stages,
        job=sending.job,
        page_id=page_id,
        now=clock.now(),
        dpi=sending.dpi,
        apart=apart,
        priority=priority_of(sending.priority, number),
    )
    publish_with_retry(broker, sending.stages[0], encode_request(request), request.priority, clock)
