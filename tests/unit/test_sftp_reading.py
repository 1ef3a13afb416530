"""Files over SFTP, block by block, from a server that sends what it likes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from paramiko.sftp import CMD_DATA, CMD_STATUS

from pero_worker.stores.transports.sftpreading import blocks

CONTENT = bytes(range(256)) * 1000


class Server:
    """A server as paramiko's client presents it; sends `most` bytes at a time, and answers the latest request first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._asked: list[tuple[Any, int, int]] = []
        self.most_asked = 0

    def _async_request(self, answer: Any, _kind: int, _handle: object, offset: int, length: int) -> None:
        self._asked.append((answer, int(offset), length))
        self.most_asked = max(self.most_asked, len(self._asked))

    def _read_response(self) -> None:
        answer, offset, length = self._asked.pop()
        content = CONTENT[offset : offset + min(length, self._most)]
        kind = CMD_DATA if content else CMD_STATUS
        answer._async_response(kind, SimpleNamespace(get_string=lambda: content), 0)

    def _convert_status(self, _message: object) -> None:
        raise EOFError("end of file")


def read(server: Server, size: int) -> bytes:
    return b"".join(blocks(SimpleNamespace(sftp=server, handle=b"h"), size))


@pytest.mark.parametrize("most", [100_000, 32_768, 32_767, 1000])
def test_whatever_a_server_gives_at_a_time(most: int) -> None:
    server = Server(most)
    assert read(server, len(CONTENT)) == CONTENT
    assert server.most_asked == 8
    assert read(server, 7) == CONTENT[:7] and read(server, 0) == b""


def test_a_file_that_ends_too_soon() -> None:
    with pytest.raises(EOFError):
        read(Server(1000), len(CONTENT) + 1)
