"""s3:// through s3fs; credentials, region and endpoint come from the usual AWS_* variables and files."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from s3fs import S3FileSystem

from pero_worker.stores.location import Location, StoreAccess
from pero_worker.stores.transports import FolderEntry, ProgressListener, away, login_refused, missing, moved
from pero_worker.stores.transports.meter import Meter

_TRIES = 2


class S3:
    """A `transports.Transport`. Uploads always appear whole, and there are no folders to create or remove."""

    def __init__(self, location: Location, access: StoreAccess) -> None:
        self._location = location
        self._object = f"{location.host}/{location.path}"
        self._files = S3FileSystem(
            key=location.user or None,
            secret=location.password or None,
            config_kwargs={
                "connect_timeout": access.timeout,
                "read_timeout": access.timeout,
                "retries": {"max_attempts": _TRIES},
            },
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._files.retries = _TRIES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._files._s3 is not None:
            self._files.close_session(self._files.loop, self._files._s3)

    def download(self, target: Path, on_progress: ProgressListener) -> None:
        with self._explained():
            # Asked first: a transfer that is broken off leaves its connection open.
            on_progress(self._files.info(self._object)["size"] or 0)
            # One part at a time: parts fetched together are held in memory.
            self._files.get_file(self._object, str(target), callback=Meter(on_progress), max_concurrency=1)

    def upload(self, source: Path, on_progress: ProgressListener) -> None:
        with self._explained():
            self._files.put_file(str(source), self._object, callback=Meter(on_progress))

    def remove(self) -> None:
        with self._explained():
            # In S3, deleting what does not exist is not an error.
            self._files.info(self._object)
            self._files.rm_file(self._object)

    def at(self, path: str) -> S3:
        other = copy.copy(self)
        other._location = moved(self._location, path)
        other._object = f"{self._location.host}/{path}"
        return other

    def read(self, max_bytes: int) -> bytes:
        with self._explained():
            # Only a part, so that a longer object is not read.
            return bytes(self._files.cat_file(self._object, start=0, end=max_bytes))

    def write(self, content: bytes) -> None:
        with self._explained():
            self._files.pipe_file(self._object, content)

    def delete(self) -> None:
        with self._explained(), suppress(FileNotFoundError):
            self._files.rm_file(self._object)

    def delete_folder(self) -> None:
        """Does nothing: there are no folders."""

    def entries(self) -> list[FolderEntry]:
        with self._explained():
            try:
                found = self._files.ls(self._object, detail=True, refresh=True)
            except FileNotFoundError:
                return []
        return [
            FolderEntry(
                name=entry["name"].rstrip("/").rpartition("/")[2],
                is_folder=entry["type"] == "directory",
                size=entry["size"] or 0,
                modified=entry.get("LastModified"),
            )
            for entry in found
            if entry["name"].rstrip("/") != self._object.rstrip("/")
        ]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise missing(self._location) from error
        except (PermissionError, NoCredentialsError, PartialCredentialsError) as error:
            raise login_refused(self._location) from error
        except (BotoCoreError, ClientError, OSError) as error:
            raise away(self._location, error) from error
