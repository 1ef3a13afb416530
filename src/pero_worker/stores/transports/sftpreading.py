"""Reads a file over SFTP with several requests in flight.

paramiko's own `prefetch` sends them from a separate thread. If an answer arrives before that thread has noted its
request, it takes the file to be read already, and the reader waits until it times out. Here one thread does both, which
takes some of paramiko's private parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from paramiko import SFTPFile
from paramiko.sftp import CMD_DATA, CMD_READ, CMD_STATUS, int64

_REQUESTS_AHEAD = 64
_BLOCK = 32_768


def blocks(file: SFTPFile, size: int) -> Iterator[bytes]:
    """Yields the first `size` bytes of `file`, in order. Raises `EOFError` if it ends before that."""
    asked: deque[_Answer] = deque()
    offset = 0
    while offset < size or asked:
        while offset < size and len(asked) < _REQUESTS_AHEAD:
            asked.append(_Answer(file, offset, min(_BLOCK, size - offset)))
            offset += asked[-1].wanted
        first = asked.popleft()
        content = first.content()
        yield content
        # A server may return less at a time than it is asked for.
        got = len(content)
        while got < first.wanted:
            content = _Answer(file, first.offset + got, first.wanted - got).content()
            got += len(content)
            yield content


class _Answer:
    """Stands in, to paramiko, for a file that waits for data."""

    def __init__(self, file: SFTPFile, offset: int, wanted: int) -> None:
        self._client: Any = file.sftp
        self.offset = offset
        self.wanted = wanted
        self._content = b""
        self._status: Any = None
        self._has_come = False
        self._client._async_request(self, CMD_READ, file.handle, int64(offset), wanted)

    def content(self) -> bytes:
        """Waits for the content and returns it; at least one byte."""
        while not self._has_come:
            self._client._read_response()
        if self._status is not None:
            self._client._convert_status(self._status)
        if not self._content:
            raise EOFError("the server sends nothing")
        return self._content

    def _async_response(self, kind: int, message: Any, _number: int) -> None:
        if kind == CMD_DATA:
            self._content = message.get_string()
        elif kind == CMD_STATUS:
            self._status = message
        self._has_come = True
