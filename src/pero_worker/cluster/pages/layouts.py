"""Where downloaded results lie: as upstream's publisher puts them, or as `pero-worker ocr` does."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Generic, TypeVar

import pero_worker
from pero_worker.cluster.pages.download import Written, failure_of
from pero_worker.cluster.pages.timing import MESSAGE_FILE
from pero_worker.errors import OutputError, PageError, RequestError, UsageError
from pero_worker.formats import document_formats
from pero_worker.jobs.claims import Claims
from pero_worker.jobs.collect import Collector
from pero_worker.jobs.confined import ConfinedFolder
from pero_worker.jobs.outputs import OutputFolder, ResultPathError, is_name_problem
from pero_worker.jobs.plan import PageOrigin
from pero_worker.jobs.records import Fingerprint
from pero_worker.jobs.report import Report
from pero_worker.names import bounded_name
from pero_worker.ports import Clock
from pero_worker.request import Request, StageLog
from pero_worker.worker.payloads import parts_of

T = TypeVar("T")
_DRAFTS = (".pero-worker", "requests")
_MAX_INFO_BYTES = 100_000
"""Bytes of a request's information that are read to see whose it is."""
_TRIES = 5
_AS_IT_CAME = ".results"
"""Ending of the folder for what came without PAGE XML."""
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")
_MAX_NAME_BYTES = 200
"""Bytes of a component: results append an ending."""
_MAX_PATH_BYTES = 1000
"""Bytes: what a system takes is 4096 with the folder the user named."""


class RequestFolders:
    """A folder a request, as upstream's `publisher.py --download` writes it (contract, section f).

    Several may write into the same folder: each has drafts of its own, below `.pero-worker/requests`. A folder that is
    there already, as a crash of another program leaves it, is given what it lacks.
    """

    def __init__(self, folder: Path, *, save_message: bool = False) -> None:
        self._save_message = save_message
        self._drafts: dict[str, list[tuple[str, ...]]] = {}
        self._own: tuple[str, ...] = _DRAFTS
        self._path = folder
        try:
            self._folder = ConfinedFolder(folder)
            self._remove_abandoned()
            self._lock = self._locked()
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror}") from error

    def write(self, request: Request, body: bytes) -> Written | None:
        if not request.uuid:
            raise RequestError("the request has no id, so its results have no name")
        for name in self._names(request.uuid):
            if name in self._drafts:
                return None
            files = self._files(request, name, body)
            try:
                if not self._exists(name):
                    self._draft(name, files)
                    return Written(failure=failure_of(request))
                if self._belongs_to(name, request.uuid):
                    return Written(failure=failure_of(request)) if self._complete(name, files) else None
            except OSError as error:
                if not is_name_problem(error):
                    raise OutputError(f"cannot write {self._path / name}: {error.strerror or error}") from error
        raise PageError(f"{self._path} has no name left for request {request.uuid}", permanent=True)

    def commit(self) -> None:
        """What was written is in place, and survives a power cut."""
        drafts, self._drafts = self._drafts, {}
        name = ""
        try:
            self._folder.sync_files(file for draft in drafts.values() for file in draft)
            self._folder.sync_folders((*self._own, name) for name in drafts)
            for name in drafts:
                self._put_in_place(name)
            self._folder.sync_folders([()])
        except OSError as error:
            raise OutputError(f"cannot write {self._path / name}: {error.strerror or error}") from error

    def close(self) -> None:
        try:
            self.commit()
        finally:
            self._folder.remove_tree(self._own)
            for parts in (_DRAFTS, _DRAFTS[:1]):
                self._folder.remove_if_empty(parts)
            self._lock.close()
            self._folder.close()

    def _locked(self) -> IO[bytes]:
        """The lock of a place for drafts; somebody who cleans up at this moment may take the first one away."""
        for _ in range(_TRIES):
            self._own = (*_DRAFTS, uuid.uuid4().hex)
            with suppress(FileNotFoundError):
                if lock := self._folder.locked((*self._own, "lock")):
                    return lock
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def _remove_abandoned(self) -> None:
        """The drafts of those that crashed: nobody holds their locks."""
        with self._folder.opened(_DRAFTS, create=True) as drafts:
            names = os.listdir(drafts)  # noqa: PTH208 - Path knows no descriptors
        for name in names:
            with suppress(OSError):
                lock = self._folder.locked((*_DRAFTS, name, "lock"))
                if lock is not None:
                    self._folder.remove_tree((*_DRAFTS, name))
                    lock.close()

    def _put_in_place(self, name: str) -> None:
        try:
            self._folder.move((*self._own, name), (name,))
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
            # Another download was sooner with the same request.
            self._folder.remove_tree((*self._own, name))

    def _names(self, identity: str) -> Iterator[str]:
        """The folder's name: the id itself if it is one, else with a mark, so that no two ids have the same."""
        name, mark = safe_name(identity), hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()
        if name == identity:
            yield name
        yield f"{name[:150]}-{mark[:16]}"
        yield mark

    def _exists(self, name: str) -> bool:
        with self._folder.opened(()) as folder:
            try:
                os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def _belongs_to(self, name: str, identity: str) -> bool:
        """Whether the folder is the request's, or nobody's yet: its information says so, or is not all there."""
        try:
            with self._folder.open_to_read((name, f"{name}_info.txt")) as file:
                first, end, _ = file.read(_MAX_INFO_BYTES).partition(b"\n")
        except FileNotFoundError:
            return self._folder.is_folder((name,))
        except OSError:
            return False
        return not end or first == _first_line(identity).encode("utf-8", "replace")

    def _draft(self, name: str, files: Mapping[str, bytes]) -> None:
        draft = (*self._own, name)
        self._folder.remove_tree(draft)
        # Not synced into its parent: what is lost before it has its place is made again.
        with self._folder.opened(self._own) as own:
            os.mkdir(name, dir_fd=own)
        for file_name, content in files.items():
            with self._folder.create((*draft, file_name)) as stream:
                stream.write(content)
        self._drafts[name] = [(*draft, file_name) for file_name in files]

    def _complete(self, name: str, files: Mapping[str, bytes]) -> bool:
        """Whether something was missing; a file that is there stays, unless a crash cut it off."""
        missing = {file: content for file, content in files.items() if not self._has((name, file), content)}
        for file, content in missing.items():
            draft = (*self._own, "file")
            self._folder.remove(draft)
            with self._folder.create(draft) as stream:
                stream.write(content)
            self._folder.sync_files([draft])
            self._folder.move(draft, (name, file))
        if missing:
            self._folder.sync_folders([(name,)])
        return bool(missing)

    def _has(self, file: tuple[str, ...], content: bytes) -> bool:
        try:
            with self._folder.open_to_read(file) as stream:
                found = stream.read(len(content))
        except OSError:
            return False  # Also a link: a file is put in its place.
        cut_off = len(found) < len(content) and (content.startswith(found) or not found.strip(b"\0"))
        return not cut_off

    def _files(self, request: Request, name: str, body: bytes) -> dict[str, bytes]:
        files = FileNames[bytes]()
        files.add(f"{name}_info.txt", info_text(request).encode("utf-8", "replace"))
        if self._save_message:
            files.add(MESSAGE_FILE, body)
        for payload in request.results:
            files.add(safe_name(payload.name or "result"), payload.content)
        for log_name, log in _log_names(request.logs):
            files.add(safe_name(log_name), log_text(log).encode("utf-8", "replace"))
        return files.content


class FileNames(Generic[T]):
    """What is filed under names that differ in more than case: a name that is taken gets a number."""

    def __init__(self) -> None:
        self.content: dict[str, T] = {}
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def add(self, name: str, content: T) -> str:
        """The name it got."""
        stem, dot, extension = name.rpartition(".")
        candidate, number = name, self._next.get(name.casefold(), 2)
        while candidate.casefold() in self._taken:
            candidate = f"{stem}_{number}{dot}{extension}" if stem else f"{name}_{number}"
            number += 1
        self._next[name.casefold()] = number
        self._taken.add(candidate.casefold())
        self.content[candidate] = content
        return candidate


class ResultTree:
    """Results under the names and in the tree their pages were published from, and report.jsonl."""

    def __init__(self, folder: OutputFolder, formats: tuple[str, ...], clock: Clock) -> None:
        if whole := ", ".join(kind.name for kind in document_formats(formats)):
            raise UsageError(f"--formats {whole} is made from whole documents: use pero-worker ocr --cluster for it")
        self._folder = folder
        creator = f"pero-worker {pero_worker.__version__}"
        self._collector = Collector(folder=folder, formats=formats, clock=clock, creator=creator, keep=self._keep)
        try:
            self._report = Report(folder)
            self._claims = Claims(folder, self._report)
        except OutputError:
            folder.close()
            raise

    def write(self, request: Request, body: bytes) -> Written | None:
        page_id = request.page_uuid or request.uuid or hashlib.sha256(body).hexdigest()
        name = self._name(request, page_id)
        if name is None:
            return None
        self._claims.begin(name, self._collector.page_formats)
        record = self._collector.collect(_origin(request, name), request, page_id)
        if record.error_class == ResultPathError.failure_class:
            raise ResultPathError(record.error)
        self._claims.settled(record)
        self._report.add(replace(record, request_id=request.uuid))
        return Written(failure=record.error)

    def commit(self) -> None:
        """What was written is in place, and survives a power cut."""
        self._report.commit()

    def close(self) -> None:
        try:
            self._report.close()
            self._claims.close(finished=True)
        finally:
            self._folder.close()

    @property
    def failed(self) -> int:
        return self._report.failed

    def _name(self, request: Request, page_id: str) -> str | None:
        """Where the page's results belong; None when they are there. A page that failed gives its place to the same
        page when it is tried again. ResultPathError: there is no place for them."""
        before = self._report.delivered(page_id, request.uuid)
        if before is not None:
            return before.name if before.failed and not request.failed else None
        for name in _tree_names(request, page_id):
            holder = self._report.holder(name)
            if holder is None and self._fits(name):
                return name
            if holder is not None and holder.page_id == page_id and holder.failed:
                return holder.name
            if holder is not None and holder.page_id == page_id and request.job:
                return None  # Of another try: ids are unique where jobs have names.
        raise ResultPathError(f"there is no name left for {request.source or page_id}", permanent=True)

    def _keep(self, origin: PageOrigin, request: Request) -> dict[str, str]:
        """All that came, as it came, in a folder beside the other results."""
        files = FileNames[bytes]()
        for payload in request.results:
            if payload.content:
                files.add(safe_name(payload.name or "result"), payload.content)
        outputs = {}
        for name, content in files.content.items():
            target = self._folder.path(f"{origin.name}{_AS_IT_CAME}/{name}", "")
            self._folder.write(target, content)
            outputs[name] = self._folder.relative(target)
        return outputs

    def _fits(self, name: str) -> bool:
        """Whether results can be written there without writing over anybody's files."""
        kinds = self._collector.page_formats
        suffixes = [f"{_AS_IT_CAME}/_", *(kind.suffix for kind in kinds)]
        fits = all(self._folder.fits(self._folder.path(name, suffix)) for suffix in suffixes)
        return fits and self._claims.foreign(name, kinds) is None


def _origin(request: Request, name: str) -> PageOrigin:
    image_name, size = _image(request)
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


def _image(request: Request) -> tuple[str, int]:
    """Name and bytes."""
    try:
        image = parts_of(request.results).image
    except PageError:
        return "", 0
    return image.name, len(image.content)


def _tree_names(request: Request, page_id: str) -> Iterator[str]:
    """Names for a page's results, the best first: other pages may have the same source, or its folder's name."""
    name = safe_path(request.source) if request.source else safe_name(Path(_image(request)[0]).stem or page_id)
    mark = hashlib.sha256(f"{page_id}\n{request.uuid}".encode("utf-8", "replace")).hexdigest()[:16]
    yield name
    yield f"{name}_{safe_name(page_id)[:12]}"
    yield f"{name}_{mark}"
    yield f"{safe_name(name.replace('/', '_'))}_{mark}"
    yield mark


def _log_names(logs: Sequence[StageLog]) -> Iterator[tuple[str, StageLog]]:
    """As upstream's downloader has it, the last run of a stage gives STAGE.log; those before are numbered from 1."""
    runs: dict[str, list[StageLog]] = {}
    for log in logs:
        runs.setdefault(log.stage, []).append(log)
    for stage, of_stage in runs.items():
        yield f"{stage}.log", of_stage[-1]
    for stage, of_stage in runs.items():
        for number, log in enumerate(of_stage[:-1], 1):
            yield f"{stage}_{number}.log", log


def safe_name(name: str) -> str:
    """One component of a path, whatever came over the wire."""
    cleaned = _UNSAFE.sub("_", name).encode("utf-8", "replace").decode()
    if cleaned.startswith("."):
        cleaned = "_" + cleaned[1:]
    return bounded_name(cleaned, _MAX_NAME_BYTES) or "_"


def safe_path(name: str) -> str:
    """A relative path, whatever came over the wire; of one that is too long the last component is left."""
    parts = [safe_name(part) for part in PurePosixPath(name).parts if part not in {"/", ".", ".."}]
    path = "/".join(parts) or "_"
    if len(path.encode()) <= _MAX_PATH_BYTES:
        return path
    mark = hashlib.sha256(path.encode()).hexdigest()[:12]
    return f"{bounded_name(parts[-1], _MAX_NAME_BYTES - len(mark) - 1)}-{mark}"


def info_text(request: Request) -> str:
    start = request.start_time or datetime.fromtimestamp(0, UTC)
    stages = "".join(f"  {stage}\n" for stage in request.stages)
    return (
        f"{_first_line(request.uuid)}\nPage uuid  : {request.page_uuid}\n"
        f"Start time : {_naive(start)}\nRemaining processing stages:\n{stages}"
    )


def _first_line(identity: str) -> str:
    return f"Message id : {identity}"


def log_text(log: StageLog) -> str:
    return (
        f"Host id       : {log.host_id}\nStage         : {log.stage}\nStart time    : {_naive(log.start)}\n"
        f"End time      : {_naive(log.end)}\nStatus        : {log.status}\nStage version : {log.version}\n"
        f"*** Log ***\n{log.log}"
    )


def _naive(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()
