"""Receives the bodies of uploads into files: never whole in memory, never longer than allowed."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from pero_worker.errors import OutputError
from pero_worker.gateway.errors import ApiError

_MAX_HEADER = 16_384
_MAX_PARTS = 100
_OVERHEAD = 65_536
"""How many bytes boundaries, headers and small fields may add to a file."""
_EXTENDED_NAME = re.compile(r"""(?i);\s*filename\*\s*=\s*([\w-]{1,40})'[\w-]{0,40}'([^\s;"']+)""")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that was received."""

    filename: str | None
    """The client's name for the file; None if it gave none."""
    size: int
    """The size of the file, in bytes."""
    sha256: str
    """The SHA-256 of the content, in hexadecimal digits."""


@dataclass(slots=True, kw_only=True)
class _Part:
    """What has been gathered of the part being read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""
    size: int = 0
    wanted: bool = False


async def receive_part(request: Request, target: Path, *, limit: int, field_name: str = "file") -> Received | None:
    """Stores the first part named `field_name` of a multipart body at `target`; returns None if there is no such part.

    Raises `ApiError` 413 if it is too large, 422 if the multipart body is damaged, and 400 if it breaks off in the
    middle of the file or is not what Content-Digest says.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        return None
    check_length(request, limit + _OVERHEAD)
    try:
        with target.open("wb") as stream:
            reader = _FileReader(stream, field_name.encode(), limit)
            parser = MultipartParser(boundary, reader.callbacks())
            async for chunk in pieces(request, limit + _OVERHEAD):
                parser.write(chunk)
            parser.finalize()
    except FormParserError as error:
        raise ApiError(422, "REQUEST_VALIDATION_ERROR", "The multipart body is damaged.") from error
    except OSError as error:
        raise OutputError(f"cannot store an upload: {error.strerror}") from error
    if not reader.complete and reader.found:
        raise ApiError(400, "UPLOAD_INCOMPLETE", "The upload ended in the middle of the file.")
    received = reader.received()
    if received is not None:
        _check_digest(request, received.sha256)
    return received


async def receive_raw(request: Request, target: Path, *, limit: int) -> Received:
    """Stores the whole body at `target`; raises `ApiError` if it is too large, or not what Content-Digest says."""
    check_length(request, limit)
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("wb") as stream:
            async for chunk in pieces(request, limit):
                stream.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise OutputError(f"cannot store an upload: {error.strerror}") from error
    received = Received(filename=None, size=size, sha256=digest.hexdigest())
    _check_digest(request, received.sha256)
    return received


async def receive_small(request: Request, limit: int) -> bytes:
    """Returns a body that fits into memory."""
    check_length(request, limit)
    return b"".join([chunk async for chunk in pieces(request, limit)])


def check_length(request: Request, limit: int) -> None:
    """Raises `ApiError` 413 before anything is read, if the client announces more than `limit` bytes."""
    length = request.headers.get("content-length", "")
    if re.fullmatch(r"[0-9]{1,20}", length) and int(length) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413, "BODY_TOO_LARGE", f"The body is larger than {limit:,} bytes allow.", headers={"Connection": "close"}
    )


async def pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yields a body as it arrives; raises `ApiError` 413 beyond `limit` bytes, and 400 if the client disconnects."""
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            yield chunk
    except ClientDisconnect as error:
        raise ApiError(400, "UPLOAD_INCOMPLETE", "The client went away in the middle of the upload.") from error


def _check_digest(request: Request, sha256: str) -> None:
    found = _DIGEST.search(request.headers.get("content-digest", ""))
    if found and base64.b64encode(bytes.fromhex(sha256)).decode() != found[1]:
        raise ApiError(400, "DIGEST_MISMATCH", "The file is not what Content-Digest says: it was damaged on its way.")


def _extended_name(header: bytes) -> str | None:
    """Returns a file name given only in the form of RFC 5987, as older Python clients do for names beyond ASCII."""
    found = _EXTENDED_NAME.search(header.decode("latin-1"))
    if found is None:
        return None
    try:
        return unquote(found[2], encoding=found[1], errors="replace")
    except LookupError:  # The encoding is unknown.
        return None


class _FileReader:
    """Callbacks for the multipart parser: write one part to a file and skip the others."""

    def __init__(self, stream: IO[bytes], wanted: bytes, limit: int) -> None:
        self._stream = stream
        self._wanted = wanted
        self._limit = limit
        self._part = _Part()
        self._parts = 0
        self._digest = hashlib.sha256()
        self._size = 0
        self._filename: str | None = None
        self.found = False
        self.complete = False

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._name,
            "on_header_value": self._value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def received(self) -> Received | None:
        if not self.found:
            return None
        return Received(filename=self._filename, size=self._size, sha256=self._digest.hexdigest())

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise MultipartParseError("too many parts")
        self._part = _Part()

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._part.name += self._counted(data[start:end])

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += self._counted(data[start:end])

    def _counted(self, data: bytes) -> bytes:
        self._part.size += len(data)
        if self._part.size > _MAX_HEADER:
            raise MultipartParseError("headers too long")
        return data

    def _header(self) -> None:
        self._part.headers[self._part.name.lower()] = self._part.value
        self._part.name = self._part.value = b""

    def _headers(self) -> None:
        header = self._part.headers.get(b"content-disposition", b"")
        _, options = parse_options_header(header)
        self._part.wanted = not self.found and options.get(b"name") == self._wanted
        if self._part.wanted:
            self.found = True
            filename = options.get(b"filename")
            self._filename = filename.decode("utf-8", "replace") if filename is not None else _extended_name(header)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._part.wanted:
            return
        piece = data[start:end]
        self._size += len(piece)
        if self._size > self._limit:
            raise _too_large(self._limit)
        self._stream.write(piece)
        self._digest.update(piece)

    def _end(self) -> None:
        if self._part.wanted:
            self.complete = True
