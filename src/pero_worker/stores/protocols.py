"""The kinds of model stores: a new one needs a module in `transports/` and a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How to reach files whose URL begins with the protocol's name."""

    transport: str
    """`module:class` in `transports/`; the module is loaded when it is used and may need packages of its own."""
    login: bool = False
    """Whether the user's login is for it and paths are those of a file system; otherwise the URL says everything."""
    port: int | None = None
    """Port to use where the URL names none; None if the transport knows it."""
    remote: bool = True
    """Whether files are on a host."""
    bucket: bool = False
    """Whether the host is a bucket, whose name keeps its case."""


PROTOCOLS: Mapping[str, Protocol] = {
    "ftp": Protocol(transport="ftp:Ftp", login=True, port=21),
    "ftps": Protocol(transport="ftp:Ftp", login=True, port=21),
    "sftp": Protocol(transport="sftp:Sftp", login=True, port=22),
    "s3": Protocol(transport="s3:S3", bucket=True),
    "http": Protocol(transport="http:Http"),
    "https": Protocol(transport="http:Http"),
    "file": Protocol(transport="local:Local", remote=False),
}
