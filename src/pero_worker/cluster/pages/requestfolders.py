"""Downloaded results laid out as by upstream's publisher: one folder per request."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

from pero_worker.cluster.pages.download import Written, failure_of
from pero_worker.cluster.pages.filenames import FileNames, safe_name
from pero_worker.cluster.pages.timing import MESSAGE_FILE
from pero_worker.errors import OutputError, PageError, RequestError
from pero_worker.jobs.confined import ConfinedFolder
from pero_worker.jobs.outputs import is_name_problem
from pero_worker.request import Request, StageLog

_DRAFTS = (".pero-worker", "requests")
_MAX_INFO_BYTES = 100_000
"""How much of a request's information file is read to see which request it belongs to, in bytes."""
_TRIES = 5


class RequestFolders:
    """One folder per request, as written by upstream's `publisher.py --download` (contract, section f).

    Several processes may write into the same folder; each keeps its drafts in a subfolder of `.pero-worker/requests`.
    An existing folder, as a crash of another program may leave it, is completed.
    """

    def __init__(self, folder: Path, *, save_message: bool = False) -> None:
        self._save_message = save_message
        self._drafts: dict[str, list[tuple[str, ...]]] = {}
        self._sealed: dict[str, list[tuple[str, ...]]] = {}
        """Drafts that are being put in place."""
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
            if name in self._drafts or name in self._sealed:
                return None
            files = self._files(request, name, body)
            try:
                if not self._exists(name):
                    self._draft(name, files)
                    return _written(request)
                if self._belongs_to(name, request.uuid):
                    return _written(request) if self._complete(name, files) else None
            except OSError as error:
                if not is_name_problem(error):
                    raise OutputError(f"cannot write {self._path / name}: {error.strerror or error}") from error
        raise PageError(f"{self._path} has no name left for request {request.uuid}", permanent=True)

    def seal(self) -> Callable[[], None]:
        """Once the returned function has run, in any thread, what was written is in place and survives a power cut."""
        self._sealed, self._drafts = self._drafts, {}
        return partial(self._put_all_in_place, self._sealed)

    def _put_all_in_place(self, drafts: Mapping[str, Sequence[tuple[str, ...]]]) -> None:
        name = ""
        try:
            files = (file for draft in drafts.values() for file in draft)
            self._folder.sync_all(files, ((*self._own, name) for name in drafts))
            for name in drafts:
                self._put_in_place(name)
            self._folder.sync_folders([()])
        except OSError as error:
            raise OutputError(f"cannot write {self._path / name}: {error.strerror or error}") from error
        self._sealed = {}

    def close(self) -> None:
        try:
            self.seal()()
        finally:
            self._folder.remove_tree(self._own)
            for parts in (_DRAFTS, _DRAFTS[:1]):
                self._folder.remove_if_empty(parts)
            self._lock.close()
            self._folder.close()

    def _locked(self) -> IO[bytes]:
        """Creates and locks a folder for drafts. Retries, as a process that is cleaning up may remove it just then."""
        for _ in range(_TRIES):
            self._own = (*_DRAFTS, uuid.uuid4().hex)
            with suppress(FileNotFoundError):
                if lock := self._folder.locked((*self._own, "lock")):
                    return lock
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def _remove_abandoned(self) -> None:
        """Removes drafts left by crashed processes, whose locks nobody holds."""
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
            # Another download wrote the same request first.
            self._folder.remove_tree((*self._own, name))

    def _names(self, identity: str) -> Iterator[str]:
        """Yields names for the request's folder, the best first: the id if it is a safe file name, otherwise with a
        hash, so that no two ids share a name."""
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
        """Returns whether the folder is the request's, or nobody's yet: its information file says so, or is
        incomplete."""
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
        # The parent is not synced: a draft lost before it is put in place is written again.
        with self._folder.opened(self._own) as own:
            os.mkdir(name, dir_fd=own)
        for file_name, content in files.items():
            with self._folder.create((*draft, file_name)) as stream:
                stream.write(content)
        self._drafts[name] = [(*draft, file_name) for file_name in files]

    def _complete(self, name: str, files: Mapping[str, bytes]) -> bool:
        """Adds missing files and returns whether there were any. Existing files stay, unless a crash cut them off."""
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
            return False  # This includes links, which are replaced by files.
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


def _written(request: Request) -> Written:
    return Written(failure=failure_of(request), cancelled=request.cancelled)


def _log_names(logs: Sequence[StageLog]) -> Iterator[tuple[str, StageLog]]:
    """Names logs as upstream's downloader does: STAGE.log for a stage's last run, earlier ones numbered from 1."""
    runs: dict[str, list[StageLog]] = {}
    for log in logs:
        runs.setdefault(log.stage, []).append(log)
    for stage, of_stage in runs.items():
        yield f"{stage}.log", of_stage[-1]
    for stage, of_stage in runs.items():
        for number, log in enumerate(of_stage[:-1], 1):
            yield f"{stage}_{number}.log", log


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
