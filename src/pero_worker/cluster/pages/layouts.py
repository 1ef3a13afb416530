"""Where downloaded results lie: as upstream's publisher puts them, or as `pero-worker ocr` does."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pero_worker
from pero_worker.errors import OutputError, PageError, RequestError, UsageError
from pero_worker.formats import document_formats
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.plan import PageOrigin
from pero_worker.jobs.report import Fingerprint, Report
from pero_worker.ports import Clock
from pero_worker.request import Request, StageLog
from pero_worker.worker.payloads import parts_of

_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")
_LONGEST = 200


class RequestFolders:
    """A folder a request, as upstream's `publisher.py --download` writes it (contract, section f)."""

    def __init__(self, folder: Path, *, save_message: bool = False) -> None:
        self._folder = folder
        self._save_message = save_message
        self._unfinished = folder / ".pero-worker" / "unfinished"
        try:
            self._unfinished.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror}") from error

    def write(self, request: Request, body: bytes) -> bool:
        if not request.uuid:
            raise RequestError("the request has no id, so its results have no name")
        name = safe_name(request.uuid)
        target = self._folder / name
        if target.exists():
            return False
        draft = self._unfinished / f"{os.getpid()}-{name}"[:240]
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            for file_name, content in self._files(request, name, body):
                with (draft / file_name).open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            draft.rename(target)
        except FileExistsError:
            return False
        except OSError as error:
            if target.exists():
                return False
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return True

    def close(self) -> None:
        shutil.rmtree(self._unfinished.parent, ignore_errors=True)

    def _files(self, request: Request, name: str, body: bytes) -> Iterable[tuple[str, bytes]]:
        files = {f"{name}_info.txt": info_text(request).encode("utf-8", "replace")}
        for payload in request.results:
            files[_free(safe_name(payload.name or "result"), files)] = payload.content
        for log in request.logs:
            files[_free(safe_name(f"{log.stage}.log"), files)] = log_text(log).encode("utf-8", "replace")
        if self._save_message:
            files["message_body"] = body
        return files.items()


class ResultTree:
    """Results under the names and in the tree their pages were published from, and report.jsonl."""

    def __init__(self, folder: OutputFolder, formats: tuple[str, ...], clock: Clock) -> None:
        if whole := ", ".join(kind.name for kind in document_formats(formats)):
            raise UsageError(f"--formats {whole} is made from whole documents: use pero-worker ocr --cluster for it")
        self._folder = folder
        creator = f"pero-worker {pero_worker.__version__}"
        self._collector = Collector(folder=folder, formats=formats, clock=clock, creator=creator)
        self._report = Report(folder)

    def write(self, request: Request, body: bytes) -> bool:
        page_id = request.page_uuid or request.uuid or hashlib.sha256(body).hexdigest()
        if self._report.has_page_id(page_id):
            return False
        origin = self._origin(request, page_id)
        self._report.add(self._collector.collect(origin, request, page_id))
        return True

    def close(self) -> None:
        self._report.close()
        self._folder.close()

    @property
    def failed(self) -> int:
        return self._report.failed

    def _origin(self, request: Request, page_id: str) -> PageOrigin:
        try:
            image = parts_of(request.results).image
            image_name, size = image.name, len(image.content)
        except PageError:
            image_name, size = "", 0
        name = safe_path(request.source) if request.source else safe_name(Path(image_name).stem or page_id)
        if self._report.page_id(name) not in {None, page_id}:
            # Another page of this name is here already, from another job.
            name = f"{name}_{safe_name(page_id)[:12]}"
        stages = [log for log in request.logs if log.stage]
        pipeline, version = "+".join(log.stage for log in stages), "+".join(log.version for log in stages)
        file = Path(image_name or name)
        return PageOrigin(
            name=name,
            document=name,
            image_name=file.name.encode("utf-8", "replace").decode(),
            source=str(file),
            index=0,
            fingerprint=Fingerprint(size=size, modified_ns=0, pipeline=pipeline, version=version, dpi=0),
        )


def safe_name(name: str) -> str:
    """One component of a path, whatever came over the wire."""
    cleaned = _UNSAFE.sub("_", name).encode("utf-8", "replace").decode()
    if cleaned.startswith("."):
        cleaned = "_" + cleaned[1:]
    if len(cleaned.encode()) > _LONGEST:
        mark = hashlib.sha256(cleaned.encode()).hexdigest()[:12]
        cleaned = cleaned.encode()[: _LONGEST - 13].decode("utf-8", "ignore") + "-" + mark
    return cleaned or "_"


def safe_path(name: str) -> str:
    """A relative path, whatever came over the wire."""
    return "/".join(safe_name(part) for part in PurePosixPath(name).parts if part not in {"/", ".", ".."}) or "_"


def info_text(request: Request) -> str:
    start = request.start_time or datetime.fromtimestamp(0, UTC)
    stages = "".join(f"  {stage}\n" for stage in request.stages)
    return (
        f"Message id : {request.uuid}\nPage uuid  : {request.page_uuid}\n"
        f"Start time : {_naive(start)}\nRemaining processing stages:\n{stages}"
    )


def log_text(log: StageLog) -> str:
    return (
        f"Host id       : {log.host_id}\nStage         : {log.stage}\nStart time    : {_naive(log.start)}\n"
        f"End time      : {_naive(log.end)}\nStatus        : {log.status}\nStage version : {log.version}\n"
        f"*** Log ***\n{log.log}"
    )


def _naive(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


def _free(name: str, taken: Iterable[str]) -> str:
    """A name that is not in `taken`: a stage that ran twice has two logs."""
    number, candidate = 2, name
    stem, dot, extension = name.rpartition(".")
    while candidate in taken:
        candidate = f"{stem}_{number}{dot}{extension}" if stem else f"{name}_{number}"
        number += 1
    return candidate
