"""FTP and explicit FTPS. Not through fsspec, which neither checks certificates nor uploads without REST."""

from __future__ import annotations

import copy
import ftplib
import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from pero_worker.errors import NoFileError, StageError
from pero_worker.stores.location import Location, StoreAccess
from pero_worker.stores.transports import (
    FolderEntry,
    ProgressListener,
    away,
    certificate_refused,
    login_refused,
    missing,
    moved,
    parents,
    unfinished,
)
from pero_worker.stores.transports.tls import client_context

_BLOCK = 1 << 18


class Ftp:
    """A `transports.Transport` that is logged in."""

    def __init__(self, location: Location, access: StoreAccess) -> None:
        self._location = location
        self._logged_in = False
        self._ftp: ftplib.FTP
        if location.protocol == "ftps":
            self._ftp = _FtpTls(context=client_context(access), timeout=access.timeout)
        else:
            self._ftp = ftplib.FTP(timeout=access.timeout)  # noqa: S321 - what upstream's stores speak
        try:
            with self._explained():
                self._ftp.connect(location.host, location.port or ftplib.FTP_PORT)
                self._ftp.login(location.user, location.password)
                if isinstance(self._ftp, ftplib.FTP_TLS):
                    self._ftp.prot_p()
            self._logged_in = True
        except BaseException:
            self._ftp.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with suppress(*ftplib.all_errors):
                self._ftp.quit()
        self._ftp.close()

    def download(self, target: Path, on_progress: ProgressListener) -> None:
        with self._explained(), target.open("wb") as file:

            def store(block: bytes) -> None:
                file.write(block)
                on_progress(file.tell())

            self._ftp.retrbinary(f"RETR {self._location.path}", store, _BLOCK)

    def upload(self, source: Path, on_progress: ProgressListener) -> None:
        path = self._location.path
        temporary = unfinished(path)
        with self._explained(), source.open("rb") as file:
            self._make_parents()
            try:
                self._ftp.storbinary(f"STOR {temporary}", file, _BLOCK, lambda _block: on_progress(file.tell()))
                try:
                    self._ftp.rename(temporary, path)
                except ftplib.error_perm:  # some servers do not rename onto an existing file
                    self._ftp.delete(path)
                    self._ftp.rename(temporary, path)
            except ftplib.Error:
                with suppress(*ftplib.all_errors):
                    self._ftp.delete(temporary)
                raise

    def _make_parents(self) -> None:
        for folder in reversed(list(parents(self._location.path))):
            with suppress(ftplib.error_perm):  # it exists
                self._ftp.mkd(folder)

    def remove(self) -> None:
        with self._explained():
            self._ftp.delete(self._location.path)
            with suppress(ftplib.error_perm):  # stops at the first that is not empty
                for folder in parents(self._location.path):
                    self._ftp.rmd(folder)

    def at(self, path: str) -> Ftp:
        other = copy.copy(self)
        other._location = moved(self._location, path)
        return other

    def read(self, max_bytes: int) -> bytes:
        content = bytearray()

        def keep(block: bytes) -> None:
            content.extend(block)
            if len(content) > max_bytes:
                raise NoFileError(f"{self._location} is longer than {max_bytes} bytes")

        with self._explained():
            self._ftp.retrbinary(f"RETR {self._location.path}", keep, _BLOCK)
        return bytes(content)

    def write(self, content: bytes) -> None:
        with self._explained():
            try:
                self._write(content)
            except ftplib.error_perm:
                self._make_parents()
                self._write(content)

    def _write(self, content: bytes) -> None:
        self._ftp.storbinary(f"STOR {self._location.path}", io.BytesIO(content), _BLOCK)

    def delete(self) -> None:
        with self._explained():
            try:
                self._ftp.delete(self._location.path)
            except ftplib.error_perm as error:
                if not str(error).startswith("550"):
                    raise

    def delete_folder(self) -> None:
        with self._explained(), suppress(ftplib.error_perm):
            self._ftp.rmd(self._location.path)

    def entries(self) -> list[FolderEntry]:
        with self._explained():
            try:
                found = list(self._ftp.mlsd(self._location.path, ["type", "size", "modify"]))
            except ftplib.error_perm as error:
                # Some servers answer 501 for a folder that does not exist.
                if str(error)[:3] in {"550", "501"}:
                    return []
                raise
        return [_entry(name, facts) for name, facts in found if facts.get("type") in {"file", "dir"}]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        location = self._location
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise certificate_refused(location, error.verify_message) from error
        except ftplib.error_perm as error:
            match str(error)[:3]:
                case "530" | "532":
                    raise login_refused(location) from error
                case "550" if self._logged_in:
                    raise missing(location) from error
                case _:
                    raise StageError(f"{location}: the server refuses: {' '.join(str(error).split())}") from error
        except ftplib.all_errors as error:
            raise away(location, error) from error


def _entry(name: str, facts: dict[str, str]) -> FolderEntry:
    modified, size = facts.get("modify", "")[:14], facts.get("size", "")
    return FolderEntry(
        name=name,
        is_folder=facts["type"] == "dir",
        size=int(size) if size.isdigit() else 0,
        modified=datetime.strptime(modified, "%Y%m%d%H%M%S").replace(tzinfo=UTC) if modified.isdigit() else None,
    )


class _FtpTls(ftplib.FTP_TLS):
    """Data connections resume the TLS session of the control connection, as many servers demand."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - TLS comes below
        session = cast("ssl.SSLSocket", self.sock).session
        try:
            return self.context.wrap_socket(connection, server_hostname=self.host, session=session), size
        except BaseException:
            connection.close()
            raise
