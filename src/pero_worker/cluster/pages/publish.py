"""Sends pages into the cluster and remembers what was sent, so that an interrupted job can be resumed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import platformdirs

from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import Cluster
from pero_worker.cluster.pages.filenames import safe_name
from pero_worker.cluster.pages.route import check_route, processes
from pero_worker.cluster.pages.sending import priority_of, reads_layouts, request_for, send_with_retry
from pero_worker.cluster.registry.stages import read_record
from pero_worker.coordinators.cancelled import CancelledJob
from pero_worker.errors import OutputError, PageError, UsageError
from pero_worker.inputs.bounds import DEFAULT_MAX_PAGES
from pero_worker.inputs.discover import Documents
from pero_worker.jobs.apart import ProcessApart
from pero_worker.jobs.confined import make_folders, sync_folder_at
from pero_worker.jobs.plan import PageTask, open_documents
from pero_worker.jobs.records import PageStatus, read_report
from pero_worker.jobs.supply import Bring
from pero_worker.ports import Clock

CANCELLED_JOB = "the job {0} is cancelled: choose another --job, or take that back with pero-worker cancel {0} --undo"
_SYNC_EVERY = 200
_LINE = 33
"""Length of an id (`page_id_of`) with its newline, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """How pages are sent."""

    job: str
    """Name of the job, carried by every page."""
    stages: tuple[str, ...]
    """Stages in order, with the output queue last."""
    priority: int | None = None
    """1 goes before 0; None: as decided by `priority_of`."""
    dpi: int = 300
    """Resolution at which PDF pages that are not scans are rendered."""
    max_pages: int = DEFAULT_MAX_PAGES
    """Documents with more pages are refused."""
    with_layouts: bool = False
    """Whether layouts that lie next to images are sent with them."""
    force: bool = False
    """Whether stages may have no configuration, because other programs serve them."""
    failed_in: Path | None = None
    """Folder with a download's report, whose failed pages are sent again."""


@dataclass(slots=True, kw_only=True)
class PublishCounts:
    """What has been sent so far."""

    pages: int = 0
    """New pages that were sent."""
    before: int = 0
    """Pages sent by an earlier run."""
    again: int = 0
    """Pages that an earlier run sent, that failed, and that were sent again."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Pages that could not be sent, with the reasons."""

    @property
    def sent(self) -> int:
        """Pages of the job sent by this run and earlier ones."""
        return self.pages + self.before + self.again


class SentPages:
    """The ids of a job's pages that RabbitMQ has confirmed, one per line in a file.

    Ids of earlier runs are held in memory, `_LINE` bytes per page, and can be looked up; those added by this run
    cannot. Lines are synced in groups: after a power cut the last pages are sent again, and the downloader recognises
    them.
    """

    def __init__(self, file: Path) -> None:
        """Raises `UsageError` if another process is sending the same job."""
        try:
            make_folders(file.parent)
            self._stream = file.open("ab+")
            sync_folder_at(file.parent)
        except OSError as error:
            raise OutputError(f"cannot remember what was published in {file}: {error.strerror}") from error
        self._file = file
        self._unsynced = 0
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._stream.close()
            raise UsageError(f"another command sends the job {file.name}: wait for it, or name another --job") from None
        try:
            whole = self._stream.tell() // _LINE * _LINE
            self._stream.truncate(whole)  # The page of a torn last line is sent again.
            self._stream.seek(0)
            self._known = np.sort(np.frombuffer(self._stream.read(whole), f"S{_LINE}"))
        except OSError as error:
            self._stream.close()
            raise self._unwritable(error) from error

    def __contains__(self, page_id: str) -> bool:
        line = _sent_line(page_id)
        place = int(np.searchsorted(self._known, line))
        return place < len(self._known) and bool(self._known[place] == line)

    def add(self, page_id: str) -> None:
        try:
            self._stream.write(_sent_line(page_id))
            self._stream.flush()
            self._unsynced += 1
            if self._unsynced >= _SYNC_EVERY:
                self._sync()
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        try:
            if self._unsynced:
                self._sync()
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self._stream.close()

    def _sync(self) -> None:
        os.fsync(self._stream.fileno())
        self._unsynced = 0

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"cannot remember what was published in {self._file}: {error.strerror}")


def _sent_line(page_id: str) -> bytes:
    return page_id.encode() + b"\n"


def publish_job(
    documents: Documents,
    cluster: Cluster,
    sending: PublishOptions,
    published: PublishCounts,
    on_document: Callable[[int], object] = lambda _documents: None,
    *,
    bring: Bring = lambda task: task,
    bring_layout: Bring = lambda task: task,
) -> None:
    """Checks the route and sends what has not been sent before, as recorded in this user's state folder.

    Raises `UsageError` or `StageError` if the pages could not arrive, `OutputError` if the record cannot be written.
    """
    check_route(cluster, sending.stages, force=sending.force)
    first = sending.stages[0]
    with_layouts = processes(cluster.zookeeper, first) and reads_layouts(read_record(cluster.zookeeper, first))
    sending = replace(sending, with_layouts=with_layouts)
    failures = failed_before(sending.failed_in) if sending.failed_in else {}
    cancelled = CancelledJob(cluster.zookeeper, sending.job)
    if cancelled.is_cancelled:
        raise UsageError(CANCELLED_JOB.format(sending.job))
    sent = SentPages(Path(platformdirs.user_state_dir("pero-worker")) / "jobs" / safe_name(sending.job))
    with closing(sent):
        publish(
            documents,
            cluster,
            sending,
            sent,
            SystemClock(),
            published,
            on_document,
            failures,
            bring=(lambda task: bring_layout(bring(task))) if with_layouts else bring,
            is_cancelled=lambda: cancelled.is_cancelled,
        )


def publish(
    documents: Documents,
    cluster: Cluster,
    sending: PublishOptions,
    sent: SentPages,
    clock: Clock,
    published: PublishCounts,
    on_document: Callable[[int], object] = lambda _documents: None,
    failures: Mapping[str, str] = MappingProxyType({}),
    bring: Bring = lambda task: task,
    *,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Sends every page of `documents` that was not sent before, or that is in `failures` (page id -> id of the request
    that failed). Only one image is in memory at a time; `bring` fetches images that a list names. `published` counts
    the pages, including those that could not be sent. Raises `UsageError` if the job is cancelled."""
    with closing(ProcessApart()) as apart:
        opened = open_documents(
            documents, "+".join(sending.stages), "", sending.dpi, apart=apart, max_pages=sending.max_pages
        )
        for number, planned in enumerate(opened, 1):
            if planned.error:
                published.failed.append((planned.document.name, planned.error))
            for task in planned.pages if not planned.error else ():
                if task.problem:
                    if task.listed is not None and not task.listed.skipped:
                        published.failed.append((task.name, task.problem))
                    continue
                page_id = request_id = page_id_of(sending.job, task)
                if page_id in sent and page_id in failures:
                    request_id = _id_of(page_id, failures[page_id])
                if request_id in sent:
                    published.before += 1
                    continue
                if is_cancelled():
                    raise UsageError(CANCELLED_JOB.format(sending.job))
                try:
                    _send(bring(task), page_id, request_id, cluster, sending, published.sent, clock, apart)
                except PageError as error:
                    published.failed.append((task.name, str(error)))
                    continue
                sent.add(request_id)
                if request_id == page_id:
                    published.pages += 1
                else:
                    published.again += 1
            on_document(number)


def page_id_of(job: str, task: PageTask) -> str:
    """Returns the same id whenever the same file is sent in the same job: 32 hexadecimal digits, like upstream's
    ids."""
    return _id_of(job, task.name, task.index, astuple(task.fingerprint))


def failed_before(folder: Path) -> dict[str, str]:
    """Returns the ids of failed pages, each with that of its request, from the report of a download into `folder`.

    Raises `UsageError` if there is no report.
    """
    try:
        records = list(_failed_in(folder))
    except OutputError as error:
        raise UsageError(f"{error}: name the folder of pero-worker download in its tree layout") from error
    return dict(records)


def _failed_in(folder: Path) -> Iterator[tuple[str, str]]:
    for record in read_report(folder):
        if record.status in {PageStatus.FAILED, PageStatus.CANCELLED} and record.page_id:
            yield record.page_id, record.request_id


def _id_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _send(
    task: PageTask,
    page_id: str,
    request_id: str,
    cluster: Cluster,
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
        with_layout=sending.with_layouts,
        priority=priority_of(sending.priority, number),
    )
    send_with_retry(cluster.broker, cluster.payloads, replace(request, uuid=request_id), clock)
