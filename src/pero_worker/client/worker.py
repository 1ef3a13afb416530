"""A worker that needs nothing but HTTPS: it leases a job, reads its pages with processes on this machine, and hands in
the results."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pero_worker.client.gateway import GatewayClient, GatewayRefused
from pero_worker.errors import PageError, PeroWorkerError, StageError, TransientError
from pero_worker.formats import installed_formats
from pero_worker.gateway.backend import PageBackend, Work
from pero_worker.gateway.bundle import REPORT, stems_of
from pero_worker.gateway.endings import DEFAULT_FORMATS, Ending, ending_of, failure_ending
from pero_worker.gateway.states import Failure
from pero_worker.inputs.documents import count_pages
from pero_worker.jobs.records import Fingerprint, PageRecord, PageStatus
from pero_worker.models.pipelines import Pipeline
from pero_worker.names import counted
from pero_worker.ports import Clock

logger = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_TELL_SECONDS = 15.0
"""Seconds between two signs of life: short enough for many of them within the shortest sensible lease."""


class _Lost(Exception):
    """The job is no longer ours: it was cancelled, or our lease has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Settings that a gateway's worker is started with."""

    engine: str | None = None
    """Engine of the jobs to take; None: any."""
    until_idle: float | None = None
    """Seconds without a job after which the worker ends; None: never."""
    cache: Path
    """Folder for downloaded models."""


class LeaseWorker:
    """Leases jobs from a gateway and reads their pages.

    `own` is the pipeline for jobs that name no engine, or one without files. `load` makes a pipeline from an engine's
    archive, and `start` starts the processes for a pipeline.
    """

    def __init__(
        self,
        client: GatewayClient,
        own: Pipeline,
        settings: LeaseSettings,
        clock: Clock,
        *,
        load: Callable[[Path], Pipeline],
        start: Callable[[Pipeline], PageBackend],
        stopped: Callable[[], bool],
    ) -> None:
        self._client = client
        self._own = own
        self._settings = settings
        self._clock = clock
        self._load = load
        self._start = start
        self._stopped = stopped
        self._held: tuple[str, Pipeline, PageBackend] | None = None

    def run(self) -> int:
        """Works until stopped or idle for too long. Returns the number of jobs done."""
        done, busy = 0, self._clock.monotonic()
        try:
            while not self._stopped():
                job = self._client.lease(self._settings.engine)
                if job is not None:
                    done += self._work(job)
                    busy = self._clock.monotonic()
                    continue
                limit = self._settings.until_idle
                if limit is not None and self._clock.monotonic() - busy >= limit:
                    break
                self._clock.sleep(_POLL_SECONDS)
        finally:
            self._drop()
        return done

    def _work(self, job: str) -> bool:
        try:
            with tempfile.TemporaryDirectory(prefix="pero-lease-") as folder:
                return self._read_pages(self._client.job(job), Path(folder))
        except _Lost:
            logger.warning("job %s was cancelled or given to another worker", job)
        except GatewayRefused as error:
            logger.warning("job %s: %s", job, error)
            if error.status not in {403, 404, 409}:
                self._give_up(job, str(error))
        except TransientError:
            raise
        except PeroWorkerError as error:
            logger.error("job %s: %s", job, error)
            self._give_up(job, str(error))
        return False

    def _give_up(self, job: str, reason: str) -> None:
        try:
            self._client.tell(job, state="error", log=reason)
        except GatewayRefused as error:
            logger.warning("job %s: %s", job, error)

    def _read_pages(self, job: dict[str, Any], folder: Path) -> bool:
        pipeline, backend = self._crew(job)
        stages = tuple(stage.name for stage in pipeline.stages)
        images = sorted(job["images"], key=lambda image: image["order"])
        waiting = list(enumerate(images))[::-1]
        endings: dict[str, Ending] = {}
        told = self._clock.monotonic()
        while len(endings) < len(images):
            if self._stopped():
                self._client.give_back(job["id"])
                raise _Lost
            while waiting and backend.room():
                place, image = waiting.pop()
                path = folder / f"{place}.image"
                with path.open("w+b") as target:
                    self._client.fetch_image(job["id"], image["id"], target)
                ending = self._send(backend, job, image, path, stages)
                if ending is not None:
                    endings[image["id"]] = ending
            names = {image["id"]: image["name"] for image in images}
            for outcome in backend.outcomes(_POLL_SECONDS):
                if outcome.page in names:
                    endings[outcome.page] = ending_of(outcome, names[outcome.page], DEFAULT_FORMATS, self._clock)
                outcome.settle()
            if backend.trouble():
                raise StageError(backend.trouble())
            if self._clock.monotonic() - told > _TELL_SECONDS:
                told = self._clock.monotonic()
                self._tell(job["id"], progress=len(endings) / len(images))
        return self._hand_in(job, images, endings, folder)

    def _send(
        self, backend: PageBackend, job: dict[str, Any], image: dict[str, Any], path: Path, stages: tuple[str, ...]
    ) -> Ending | None:
        """Hands a page to a worker process and returns None, or returns how the page failed."""
        try:
            if count_pages(path) != 1:
                raise PageError("it has several pages, and there is one name for it", permanent=True)
        except PageError as error:
            return failure_ending(image["id"], Failure.INVALID_FILE, str(error))
        backend.send(
            Work(
                page=image["id"],
                job=job["id"],
                path=path,
                name=image["name"],
                stages=stages,
                source=f"{job['id']}/{image['name']}",
            )
        )
        return None

    def _tell(self, job: str, **what: object) -> None:
        try:
            self._client.tell(job, **what)
        except GatewayRefused as error:
            raise _Lost from error

    def _hand_in(
        self, job: dict[str, Any], images: Sequence[dict[str, Any]], endings: dict[str, Ending], folder: Path
    ) -> bool:
        failed = [ending.end.error for ending in endings.values() if ending.end.failure]
        if images and len(failed) == len(images):
            self._tell(job["id"], state="error", log="\n".join(failed[:20]), log_user="No page could be read.")
            return False
        archive = folder / "result.zip"
        write_bundle(archive, [image["name"] for image in images], [endings[image["id"]] for image in images])
        self._client.upload_result(job["id"], archive)
        log = f"{counted(len(images), 'page')}, {len(failed)} failed"
        self._tell(job["id"], state="done", log="\n".join([log, *failed[:20]]), log_user=log)
        logger.info("job %s is done: %s", job["id"], log)
        return True

    def _crew(self, job: dict[str, Any]) -> tuple[Pipeline, PageBackend]:
        """Returns the job's pipeline and its processes, which are kept as long as jobs want the same ones."""
        engine, updated = job.get("engine_id"), job.get("engine_files_updated")
        wanted = f"{engine}-{updated}" if engine and updated else ""
        if self._held is None or self._held[0] != wanted:
            pipeline = self._own if not wanted else self._fetched(str(engine), wanted)
            self._drop()
            backend = self._start(pipeline)
            backend.start()
            self._held = (wanted, pipeline, backend)
        return self._held[1], self._held[2]

    def _fetched(self, engine: str, wanted: str) -> Pipeline:
        self._settings.cache.mkdir(parents=True, exist_ok=True)
        safe = "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in wanted)[:120]
        path = self._settings.cache / f"{safe}.zip"
        if not path.exists():
            fresh = path.with_suffix(f".{os.getpid()}")
            with fresh.open("w+b") as target:
                self._client.fetch_engine(engine, target)
            fresh.replace(path)
        return self._load(path)

    def _drop(self) -> None:
        if self._held is not None:
            self._held[2].close()
            self._held = None


def write_bundle(archive: Path, names: Sequence[str], endings: Sequence[Ending]) -> None:
    """Writes a job's zip as the gateway itself writes it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        lines = []
        for name, stem, ending in zip(names, stems_of(names), endings, strict=True):
            outputs = {}
            for kind, content in ending.contents.items():
                outputs[kind] = f"{stem}{installed_formats()[kind].suffix}"
                target.writestr(outputs[kind], content)
            lines.append(json.dumps(asdict(_record(name, ending, outputs)), separators=(",", ":")))
        target.writestr(REPORT, "".join(f"{line}\n" for line in lines))


def _record(name: str, ending: Ending, outputs: dict[str, str]) -> PageRecord:
    end = ending.end
    return PageRecord(
        page=name,
        source=name,
        page_index=0,
        status=PageStatus.FAILED if end.failure else PageStatus.DONE,
        fingerprint=Fingerprint(size=0, modified_ns=0, pipeline="", version=end.engine_text, dpi=0),
        finished="",
        attempts=end.attempts,
        engine=end.engine_text,
        worker=end.worker,
        seconds=end.seconds,
        worker_seconds=end.worker_seconds,
        energy_joules=end.energy_joules,
        lines=end.lines,
        confidence_mean=None if end.quality is None else round(end.quality / 100, 4),
        confidence_worst=None if end.worst_line is None else round(end.worst_line / 100, 4),
        outputs=outputs,
        error_class=end.failure or "",
        error=end.error,
        page_id=end.page,
    )
