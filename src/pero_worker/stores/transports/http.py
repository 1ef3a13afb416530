"""http:// and https:// through fsspec: downloading only."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from pero_worker.errors import StageError
from pero_worker.stores.location import Location, StoreAccess
from pero_worker.stores.transports import ProgressListener, away, certificate_refused, login_refused, missing
from pero_worker.stores.transports.meter import Meter
from pero_worker.stores.transports.tls import client_context


class Http:
    """`transports.Transport`. A login goes only where the URL says, not where the server redirects to."""

    def __init__(self, location: Location, access: StoreAccess) -> None:
        self._location = location
        # With aiohttp's gzip a file would come unpacked, and not fit its digest.
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
            if error.status >= 500 or error.status in {408, 425, 429}:
                raise away(location, OSError(f"it answers {error.status} {error.message}")) from error
            raise StageError(f"{location}: the server answers {error.status} {error.message}") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise certificate_refused(location, str(error.certificate_error)) from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise StageError(f"{location} is no address of a file") from error
        except (aiohttp.ClientError, OSError) as error:
            raise away(location, error) from error
