"""The kinds of model stores: a new one is a module in `transports/` and a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How files are reached whose URL begins with its name."""

    transport: str
    """`module:class` in `transports/`; the module is loaded when it is used, and may need packages of its own."""
    login: bool = False
    """Whether the user's login is for it, and paths are those of a file system; else the URL tells all."""
    port: int | None = None
    """Taken where the URL names none; None: the transport knows."""
    remote: bool = True
    """Whether files lie on a host."""
    bucket: bool = False
    """Whether the host is a bucket: its name keeps its case."""


PROTOCOLS: Mapping[str, Protocol] = {
    "ftp": Protocol(transport="ftp:Ftp", login=True, port=21),
    "ftps": Protocol(transport="ftp:Ftp", login=True, port=21),
    "sftp": Protocol(transport="sftp:Sftp", login=True, port=22),
    "s3": Protocol(transport="s3:S3", bucket=True),
    "http": Protocol(transport="http:Http"),
    "https": Protocol(transport="http:Http"),
    "file": Protocol(transport="local:Local", remote=False),
}
