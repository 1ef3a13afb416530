"""SSH host keys: paramiko compares known ones; new ones are refused, or remembered if that was asked for."""

from __future__ import annotations

import fcntl
from pathlib import Path

import paramiko

from pero_worker.errors import StageError
from pero_worker.stores.location import StoreAccess


class UnknownHostError(paramiko.SSHException):  # type: ignore[misc]
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__("the host key is not known")
        self.fingerprint = str(key.fingerprint)


class Remember(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Trusts a server on first use and records its key, if `allowed`. Several processes may do so at the same time."""

    def __init__(self, file: Path, *, allowed: bool) -> None:
        self._file = file
        self._allowed = allowed

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        if not self._allowed:
            raise UnknownHostError(key)
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._file.open("a+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # Another process may have met the server in the meantime, or a different one in its place.
                known = paramiko.HostKeys(str(self._file)).lookup(hostname)
                if known is None:
                    file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")
                elif known.get(key.get_name()) != key:
                    raise paramiko.BadHostKeyException(hostname, key, next(iter(known.values())))
        except OSError as error:
            raise StageError(f"cannot remember the host key in {self._file}: {error.strerror}") from error


def known_hosts(access: StoreAccess) -> Path:
    return access.known_hosts.expanduser()
