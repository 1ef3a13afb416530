"""Reading a file over SFTP with several requests on their way.

paramiko's own `prefetch` sends them from a thread of its own. When an answer comes before that thread has noted its
request, it takes the file for read, and the reader waits until time is up. Here one thread does both; what paramiko
keeps to itself is used for it.
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
    """The first `size` bytes of `file`, in order; fewer when it ends before."""
    client: Any = file.sftp
    asked: deque[_Answer] = deque()
    offset = 0
    while offset < size or asked:
        while offset < size and len(asked) < _REQUESTS_AHEAD:
            answer = _Answer()
            client._async_request(answer, CMD_READ, file.handle, int64(offset), min(_BLOCK, size - offset))
            answer.wanted = min(_BLOCK, size - offset)
            offset += answer.wanted
            asked.append(answer)
        first = asked.popleft()
        while not first.has_come:
            client._read_response()
        if first.status is not None:
            client._convert_status(first.status)
        yield first.content
        if len(first.content) < first.wanted:
            # It ends here, or a server gives less at a time than it is asked for: what was not read is missed.
            while asked and not asked[-1].has_come:
                client._read_response()
            return


class _Answer:
    """What paramiko takes for a file that waits for data."""

    def __init__(self) -> None:
        self.content = b""
        self.wanted = 0
        self.has_come = False
        self.status: Any = None

    def _async_response(self, kind: int, message: Any, _number: int) -> None:
        if kind == CMD_DATA:
            self.content = message.get_string()
        elif kind == CMD_STATUS:
            self.status = message
        self.has_come = True
