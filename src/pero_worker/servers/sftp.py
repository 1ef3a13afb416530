"""A private SFTP server for one user and one folder: no system accounts, no shell, nothing outside the folder."""

from __future__ import annotations

import hmac
import logging
import os
import socket
import stat
import threading
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pero_worker.errors import UsageError
from pero_worker.servers import command
from pero_worker.servers.command import Account
from pero_worker.servers.folder import Folder

_LOGIN_SECONDS = 30
_MAX_CONNECTIONS = 200
_log = logging.getLogger(__name__)


def main() -> None:
    command.run(_serve)


def host_key(path: Path) -> paramiko.PKey:
    """Returns the server's key; if the file is missing, an ed25519 key is created, readable by its owner only.

    Raises `UsageError` if the key cannot be read or written, or if others may read it.
    """
    try:
        if not path.exists():
            _write_new_key(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"the host key {path} is open to others: run chmod 600 {path}")
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise UsageError(f"cannot use the host key {path}: {error.strerror or error}") from error
    except (paramiko.SSHException, ValueError) as error:
        raise UsageError(f"{path} is no private key: remove it and a new one is made") from error


def _write_new_key(path: Path) -> None:
    text = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(text)
    unfinished.rename(path)


def _serve() -> None:
    options = command.parser("sftp", "Serves one folder to one user by SFTP.")
    options.add_argument("--host-key", type=Path, required=True, metavar="FILE", help="made when it is missing")
    given = options.parse_args()
    account = command.account(given)
    key = host_key(given.host_key)
    # Clients' mistakes are not errors of the server, and paramiko logs a traceback for every port scan.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    _log.info("host key %s", key.fingerprint)
    with command.listen(given.host, given.port) as listener:
        command.announce(listener)
        free = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        while True:
            connection, _ = listener.accept()
            if not free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=_talk, args=(connection, account, key, free), daemon=True).start()


def _talk(connection: socket.socket, account: Account, key: paramiko.PKey, free: threading.BoundedSemaphore) -> None:
    transport = paramiko.Transport(connection)
    try:
        transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Folder, account.root)
        transport.start_server(server=_Login(account))
        channel = transport.accept(_LOGIN_SECONDS)
        if channel is not None:
            transport.join()
    except (paramiko.SSHException, EOFError, OSError) as error:
        _log.info("a connection ended: %s", error)
    finally:
        transport.close()
        free.release()


class _Login(paramiko.ServerInterface):  # type: ignore[misc]
    def __init__(self, account: Account) -> None:
        self._account = account

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        account = self._account
        known = hmac.compare_digest(username.encode(), account.user.encode())
        right = hmac.compare_digest(password.encode(), account.password.encode())
        return int(paramiko.AUTH_SUCCESSFUL if known and right else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        allowed = kind == "session"
        return int(paramiko.OPEN_SUCCEEDED if allowed else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)


if __name__ == "__main__":
    main()
