"""v1: resumable uploads of large files with tus 1.0.0."""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import IO, Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request
from sqlalchemy import RowMapping, delete, insert, select
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pero_worker.errors import OutputError
from pero_worker.gateway.auth import gateway_of, require
from pero_worker.gateway.core import Gateway
from pero_worker.gateway.errors import ApiError
from pero_worker.gateway.keys import Key, Role
from pero_worker.gateway.middleware import trace
from pero_worker.gateway.receiving import Received, check_length, pieces
from pero_worker.gateway.store.schema import uploads
from pero_worker.gateway.v1.files import expect_image, keep_image

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
User = Annotated[Key, Depends(require(Role.USER))]
_VERSION = {"Tus-Resumable": "1.0.0"}
_KEPT_SECONDS = 86_400.0
_CHECKSUM_MISMATCH = 460


@router.options("", status_code=204)
def options(request: Request) -> Response:
    """Show what this server supports."""
    return _empty(
        204,
        **{
            "Tus-Version": "1.0.0",
            "Tus-Extension": "creation,termination,expiration,checksum",
            "Tus-Checksum-Algorithm": "sha256",
            "Tus-Max-Size": str(gateway_of(request).settings.max_upload),
        },
    )


@router.post("", status_code=201)
def create(request: Request, key: User) -> Response:
    """Start an upload with `Upload-Length`, and `Upload-Metadata` with `job` and `name` in base64."""
    _check_version(request)
    gateway = gateway_of(request)
    text = request.headers.get("upload-length", "")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ApiError(400, "UPLOAD_LENGTH_MISSING", "Upload-Length says how many bytes will come.")
    length, limit = int(text), key.max_upload or gateway.settings.max_upload
    if length > limit:
        raise ApiError(413, "BODY_TOO_LARGE", f"A file may have {limit:,} bytes.", headers=_VERSION)
    metadata = _metadata(request.headers.get("upload-metadata", ""))
    try:
        job, name = UUID(metadata["job"]), metadata["name"]
    except (KeyError, ValueError):
        raise ApiError(400, "UPLOAD_METADATA_MISSING", "Upload-Metadata names the job and the page.") from None
    expect_image(gateway, key, job, name)
    upload, expires = str(uuid4()), gateway.now() + _KEPT_SECONDS
    try:
        gateway.files.upload(upload).touch()
    except OSError as error:
        raise OutputError(f"cannot store an upload: {error.strerror}") from error
    with gateway.database.write() as connection:
        row = {"id": upload, "owner": key.id, "job": str(job), "name": name, "length": length, "expires": expires}
        connection.execute(insert(uploads).values(row))
    return _empty(201, **{"Location": f"/v1/uploads/{upload}", "Upload-Expires": _http_date(expires)})


def _metadata(text: str) -> dict[str, str]:
    found = {}
    for pair in text.split(",")[:20]:
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return found


@router.head("/{upload_id}")
def head(request: Request, key: User, upload_id: UUID) -> Response:
    """Show how much of the file has arrived."""
    _check_version(request)
    gateway = gateway_of(request)
    row = _own(gateway, key, upload_id)
    return _empty(200, **_place(gateway, row), **{"Upload-Length": str(row["length"]), "Cache-Control": "no-store"})


@router.patch("/{upload_id}", status_code=204)
async def patch(request: Request, key: User, upload_id: UUID) -> Response:
    """Send more of the file, starting at `Upload-Offset`. The last piece makes it the page's scan."""
    _check_version(request)
    gateway = gateway_of(request)
    row = await run_in_threadpool(_own, gateway, key, upload_id)
    if request.headers.get("content-type", "") != "application/offset+octet-stream":
        raise ApiError(415, "UPLOAD_TYPE_INVALID", "The type of a piece is application/offset+octet-stream.")
    offset = request.headers.get("upload-offset", "")
    with _locked(gateway, row) as stream:
        present = os.fstat(stream.fileno()).st_size
        if offset != str(present):
            message = f"The upload goes on at byte {present}."
            raise ApiError(409, "UPLOAD_OFFSET_WRONG", message, headers={**_VERSION, "Upload-Offset": str(present)})
        size = await _append(request, stream, present, row["length"])
        if size == row["length"]:
            await run_in_threadpool(_finish, gateway, key, row, trace.get())
    return _empty(204, **{"Upload-Offset": str(size), "Upload-Expires": _http_date(row["expires"])})


async def _append(request: Request, stream: IO[bytes], present: int, length: int) -> int:
    """Appends a piece and returns the new size.

    If the client disconnects, what has arrived is kept, unless it has a checksum, which could not be verified.
    """
    check_length(request, length - present)
    wanted = request.headers.get("upload-checksum", "")
    digest, size = hashlib.sha256(), present
    stream.seek(present)
    try:
        async for piece in pieces(request, length - present):
            stream.write(piece)
            digest.update(piece)
            size += len(piece)
    except ApiError:
        if wanted:
            stream.truncate(present)
        raise
    except OSError as error:
        raise OutputError(f"cannot store an upload: {error.strerror}") from error
    if wanted and wanted != f"sha256 {base64.b64encode(digest.digest()).decode()}":
        stream.truncate(present)
        raise ApiError(_CHECKSUM_MISMATCH, "DIGEST_MISMATCH", "The piece was damaged on its way.", headers=_VERSION)
    stream.flush()
    return size


def _finish(gateway: Gateway, key: Key, row: RowMapping, request_trace: str) -> None:
    path = gateway.files.upload(row["id"])
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        received = Received(filename=row["name"], size=row["length"], sha256=digest)
        keep_image(gateway, key, UUID(row["job"]), row["name"], path, received, request_trace)
    finally:
        _forget(gateway, row["id"])


@router.delete("/{upload_id}", status_code=204)
def remove(request: Request, key: User, upload_id: UUID) -> Response:
    """Abandon the upload."""
    _check_version(request)
    gateway = gateway_of(request)
    row = _own(gateway, key, upload_id)
    with _locked(gateway, row):
        _forget(gateway, row["id"])
    return _empty(204)


def _forget(gateway: Gateway, upload: str) -> None:
    with gateway.database.write() as connection:
        connection.execute(delete(uploads).where(uploads.c.id == upload))
    gateway.files.upload(upload).unlink(missing_ok=True)


def _own(gateway: Gateway, key: Key, upload_id: UUID) -> RowMapping:
    with gateway.database.read() as connection:
        row = connection.execute(select(uploads).where(uploads.c.id == str(upload_id))).mappings().first()
    if row is None or row["owner"] != key.id or row["expires"] < gateway.now():
        raise ApiError(404, "UPLOAD_NOT_FOUND", "There is no such upload, or it has ended.", headers=_VERSION)
    return row


@contextmanager
def _locked(gateway: Gateway, row: RowMapping) -> Iterator[IO[bytes]]:
    """Opens the file, for one request at a time."""
    try:
        stream = gateway.files.upload(row["id"]).open("r+b", buffering=0)
    except FileNotFoundError:
        raise ApiError(404, "UPLOAD_NOT_FOUND", "There is no such upload, or it has ended.") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ApiError(423, "UPLOAD_IN_USE", "Another request is writing to this upload.") from None
        yield stream


def _place(gateway: Gateway, row: RowMapping) -> dict[str, str]:
    try:
        size = gateway.files.upload(row["id"]).stat().st_size
    except FileNotFoundError:
        raise ApiError(404, "UPLOAD_NOT_FOUND", "There is no such upload, or it has ended.") from None
    return {"Upload-Offset": str(size), "Upload-Expires": _http_date(row["expires"])}


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable", "") != "1.0.0":
        message = "This server speaks tus 1.0.0; say so in Tus-Resumable."
        raise ApiError(412, "TUS_VERSION_UNSUPPORTED", message, headers={"Tus-Version": "1.0.0"})


def _empty(status: int, **headers: str) -> Response:
    return Response(status_code=status, headers={**_VERSION, **headers})


def _http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
