"""SFTP through paramiko itself: fsspec's file system does not take a file of known hosts."""

from __future__ import annotations

import copy
import logging
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import paramiko

from pero_worker.errors import StageError, TransientError
from pero_worker.stores.location import Location, StoreAccess
from pero_worker.stores.transports import (
    FolderEntry,
    ProgressListener,
    away,
    forbidden,
    login_refused,
    missing,
    moved,
    parents,
    unfinished,
)
from pero_worker.stores.transports.hostkeys import Remember, UnknownHostError, known_hosts
from pero_worker.stores.transports.sftpreading import blocks

# Every failure is raised as well; paramiko's own account of it is a traceback on the terminal.
_SILENT = "pero_worker.ssh"
logging.getLogger(_SILENT).setLevel(logging.CRITICAL + 1)


class Sftp:
    """A `transports.Transport` that is logged in to a server whose key is known."""

    def __init__(self, location: Location, access: StoreAccess) -> None:
        self._location = location
        self._access = access
        self._client = paramiko.SSHClient()
        self._client.set_log_channel(_SILENT)
        try:
            with self._explained():
                self._connect()
        except BaseException:
            self._client.close()
            raise

    def _connect(self) -> None:
        location, access = self._location, self._access
        file = known_hosts(access)
        if file.is_file():
            self._client.load_system_host_keys(str(file))
        self._client.set_missing_host_key_policy(Remember(file, allowed=access.trust_new_hosts))
        by_key = not location.password
        self._client.connect(
            location.host,
            location.port or paramiko.config.SSH_PORT,
            location.user or None,
            location.password or None,
            timeout=access.timeout,
            banner_timeout=access.timeout,
            auth_timeout=access.timeout,
            channel_timeout=access.timeout,
            allow_agent=by_key,
            look_for_keys=by_key,
        )
        self._files = self._client.open_sftp()
        if channel := self._files.get_channel():
            channel.settimeout(access.timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def download(self, target: Path, on_progress: ProgressListener) -> None:
        path = self._location.path
        with self._explained(), target.open("wb") as file:
            about = self._files.stat(path)
            if about.st_mode is not None and not stat.S_ISREG(about.st_mode):
                raise missing(self._location)
            on_progress(about.st_size or 0)
            with self._files.open(path, "rb") as stored:
                for block in blocks(stored, about.st_size or 0):
                    file.write(block)
                    on_progress(file.tell())
            if file.tell() != about.st_size:
                raise TransientError(f"{self._location} came with {file.tell()} bytes instead of {about.st_size}")

    def upload(self, source: Path, on_progress: ProgressListener) -> None:
        path = self._location.path
        temporary = unfinished(path)
        with self._explained(), source.open("rb") as file:
            self._make_parents()
            try:
                self._files.putfo(file, temporary, callback=lambda done, _: on_progress(done))
                self._rename(temporary, path)
            except OSError:
                with suppress(OSError, EOFError, paramiko.SSHException):
                    self._files.remove(temporary)
                raise

    def _make_parents(self) -> None:
        for folder in reversed(list(parents(self._location.path))):
            with suppress(OSError):  # it exists; any other reason shows when the file is written
                self._files.mkdir(folder)

    def _rename(self, temporary: str, path: str) -> None:
        try:
            self._files.posix_rename(temporary, path)
        except OSError:  # this is an extension of OpenSSH; the plain operation replaces nothing
            with suppress(FileNotFoundError):
                self._files.remove(path)
            self._files.rename(temporary, path)

    def remove(self) -> None:
        with self._explained():
            self._files.remove(self._location.path)
            with suppress(OSError):  # stops at the first that is not empty
                for folder in parents(self._location.path):
                    self._files.rmdir(folder)

    def at(self, path: str) -> Sftp:
        other = copy.copy(self)
        other._location = moved(self._location, path)
        return other

    def read(self, max_bytes: int) -> bytes:
        with self._explained(), self._files.open(self._location.path, "rb") as file:
            return b"".join(blocks(file, min(file.stat().st_size or 0, max_bytes)))

    def write(self, content: bytes) -> None:
        with self._explained():
            try:
                self._write(content)
            except FileNotFoundError:
                self._make_parents()
                self._write(content)

    def _write(self, content: bytes) -> None:
        with self._files.open(self._location.path, "wb") as file:
            file.set_pipelined(True)
            file.write(content)
            # The answers to the writes come with the answer to `stat`.
            file.set_pipelined(False)
            size = file.stat().st_size
        if size != len(content):
            raise OSError(f"{size} of {len(content)} bytes arrived")

    def delete(self) -> None:
        with self._explained(), suppress(FileNotFoundError):
            self._files.remove(self._location.path)

    def delete_folder(self) -> None:
        with self._explained(), suppress(OSError):
            self._files.rmdir(self._location.path)

    def entries(self) -> list[FolderEntry]:
        with self._explained():
            try:
                found = self._files.listdir_attr(self._location.path)
            except FileNotFoundError:
                return []
        return [
            FolderEntry(
                name=about.filename,
                is_folder=stat.S_ISDIR(about.st_mode or 0),
                size=about.st_size or 0,
                modified=datetime.fromtimestamp(about.st_mtime, UTC) if about.st_mtime is not None else None,
            )
            for about in found
        ]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        location, file = self._location, self._access.known_hosts
        try:
            yield
        except UnknownHostError as error:
            raise StageError(
                f"{location}: the server's host key {error.fingerprint} is not known: compare it with the server's,"
                f" then run: ssh-keyscan -p {location.port} {location.host} >> {file}"
            ) from error
        except paramiko.BadHostKeyException as error:
            raise StageError(
                f"{location}: the server's host key CHANGED to {error.key.fingerprint}: if the server was installed"
                f" anew remove its old line from {file}, else somebody stands in its place"
            ) from error
        except paramiko.AuthenticationException as error:
            raise login_refused(location) from error
        except FileNotFoundError as error:
            raise missing(location) from error
        except PermissionError as error:
            raise forbidden(location) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise away(location, error) from error
