"""http:// and https:// through fsspec: archives are only downloaded; whole contents are also put, deleted and listed,
as in WebDAV."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import aiohttp
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from pero_worker.errors import StageError
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
)
from pero_worker.stores.transports.meter import Meter
from pero_worker.stores.transports.tls import client_context
from pero_worker.stores.transports.webdav import MAX_LISTING_BYTES, entries_in

_NO_SUCH_PARENT = 409
_NOT_IMPLEMENTED = 501


class _NoParentError(StageError):
    """The folder of a new file does not exist."""


class Http:
    """A `transports.Transport`. A login is sent only to where the URL points, not to where the server redirects."""

    def __init__(self, location: Location, access: StoreAccess) -> None:
        self._location = location
        # With aiohttp's gzip, a file would arrive unpacked and not match its digest.
        headers = {"Accept-Encoding": "identity"}
        if location.user:
            login = base64.b64encode(f"{location.user}:{location.password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        request: dict[str, object] = {"headers": headers}
        if location.protocol == "https":
            request["ssl"] = client_context(access)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=access.timeout, sock_read=access.timeout)
        self._files = HTTPFileSystem(
            client_kwargs={"timeout": timeout, "trust_env": True},
            encoded=True,
            skip_instance_cache=True,
            **request,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._files._session is not None:
            self._files.close_session(self._files.loop, self._files._session)

    def download(self, target: Path, on_progress: ProgressListener) -> None:
        with self._explained():
            self._files.get_file(str(self._location), str(target), callback=Meter(on_progress))

    def upload(self, source: Path, on_progress: ProgressListener) -> None:
        raise self._read_only()

    def remove(self) -> None:
        raise self._read_only()

    def at(self, path: str) -> Http:
        other = copy.copy(self)
        other._location = moved(self._location, path)
        return other

    def read(self, max_bytes: int) -> bytes:
        return self._ask("GET", max_bytes=max_bytes)

    def write(self, content: bytes) -> None:
        try:
            self._ask("PUT", content)
        except _NoParentError:
            for folder in reversed(list(parents(self._location.path))):
                with suppress(StageError):  # It exists.
                    self.at(f"{folder}/")._ask("MKCOL")
            self._ask("PUT", content)

    def delete(self) -> None:
        with suppress(FileNotFoundError):
            self._ask("DELETE", is_missing=FileNotFoundError)

    def delete_folder(self) -> None:
        """Asks for the entries first: a server removes a folder with everything in it."""
        if not self.entries():
            with suppress(FileNotFoundError):
                self.at(f"{self._location.path.rstrip('/')}/")._ask("DELETE", is_missing=FileNotFoundError)

    def entries(self) -> list[FolderEntry]:
        folder = self.at(f"{self._location.path.rstrip('/')}/")
        try:
            text = folder._ask(
                "PROPFIND", headers={"Depth": "1"}, max_bytes=MAX_LISTING_BYTES, is_missing=FileNotFoundError
            )
        except FileNotFoundError:
            return []
        return entries_in(text, str(folder._location))

    def _ask(
        self,
        method: str,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        max_bytes: int = 0,
        is_missing: type[Exception] | None = None,
    ) -> bytes:
        """Returns `max_bytes` of the answer. What would have to be requested from another address is refused."""

        status: int
        found: bytes

        async def ask() -> tuple[int, bytes]:
            session = await self._files.set_session()
            options = {**self._files.kwargs, "headers": {**self._files.kwargs["headers"], **headers}}
            address = self._files.encode_url(str(self._location))
            async with session.request(method, address, data=content, allow_redirects=False, **options) as answer:
                found = bytearray()
                while answer.status < 300 and len(found) < max_bytes:
                    block = await answer.content.read(max_bytes - len(found))
                    if not block:
                        break
                    found += block
                if answer.status >= 400 and answer.status not in {404, 410, _NO_SUCH_PARENT}:
                    answer.raise_for_status()
                return answer.status, bytes(found)

        with self._explained():
            status, found = sync(self._files.loop, ask)
        if status in {404, 410} and is_missing is not None:
            raise is_missing
        if status in {404, 410} and method != "PUT":
            raise missing(self._location)
        if status in {404, 410, _NO_SUCH_PARENT}:
            raise _NoParentError(f"{self._location}: the server has no such folder, and makes none")
        if status >= 300:
            raise StageError(f"{self._location}: the server sends elsewhere ({status}), where nothing is asked")
        return found

    def _read_only(self) -> StageError:
        return StageError(f"{self._location}: files are only read by {self._location.protocol}://, change it by hand")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        location = self._location
        try:
            yield
        except FileNotFoundError as error:
            raise missing(location) from error
        except aiohttp.ClientResponseError as error:
            if error.status in {401, 403}:
                raise login_refused(location) from error
            if (error.status >= 500 and error.status != _NOT_IMPLEMENTED) or error.status in {408, 425, 429}:
                raise away(location, OSError(f"it answers {error.status} {error.message}")) from error
            raise StageError(f"{location}: the server answers {error.status} {error.message}") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise certificate_refused(location, str(error.certificate_error)) from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise StageError(f"{location} is no address of a file") from error
        except (aiohttp.ClientError, OSError) as error:
            raise away(location, error) from error
