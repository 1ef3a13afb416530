"""Zip archives that workers and administrators upload: stored as they are once their directory has been checked."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from pero_worker.gateway.auth import gateway_of
from pero_worker.gateway.errors import ApiError, invalid
from pero_worker.gateway.receiving import receive_part

_END = b"PK\x05\x06"
_END_BYTES = 22
_COMMENT_BYTES = 65_535
_MAX_DIRECTORY = 16_000_000


async def receive_archive(request: Request, target: Path, code: str) -> bool:
    """Stores the upload at `target`, and returns whether it is the first there.

    Raises `ApiError` 415 with `code` if it is not a zip.
    """
    gateway = gateway_of(request)
    with gateway.files.unfinished() as path:
        if await receive_part(request, path, limit=gateway.settings.max_upload) is None:
            raise invalid(("body", "file"), "Field required", "missing")

        def keep() -> bool:
            fault = zip_fault(path)
            if fault:
                raise ApiError(415, code, "The file is no zip archive.", details={"reason": fault})
            first = not target.exists()
            gateway.files.place(path, target)
            return first

        return await run_in_threadpool(keep)


def zip_fault(path: Path) -> str:
    """Returns why a file is not accepted as a zip, or '' if it is; one that takes much memory to check is not."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _END_BYTES - _COMMENT_BYTES))
        tail = stream.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        return "it has no directory at its end"
    (directory,) = struct.unpack_from("<L", tail, place + 12)
    if directory != 0xFFFFFFFF and directory > _MAX_DIRECTORY:
        return "it has too many entries"
    try:
        with zipfile.ZipFile(path):
            return ""
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
        return str(error)[:200]
