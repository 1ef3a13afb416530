"""A private FTP server for one user and one folder; with a certificate it offers explicit FTPS only."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

from pero_worker.errors import UsageError
from pero_worker.servers import command

_EVERYTHING = "elradfmwMT"
_WRONG_LOGIN_SECONDS = 1


def main() -> None:
    command.run(_serve)


def _serve() -> None:
    options = command.parser("ftp", "Serves one folder to one user by FTP, or FTPS when given a certificate.")
    options.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate with its chain: FTPS only")
    options.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key (default: in the same file)")
    given = options.parse_args()
    account = command.account(given)
    authorizer = DummyAuthorizer()
    authorizer.add_user(account.user, account.password, str(account.root), perm=_EVERYTHING)
    handler = _handler(given)
    handler.authorizer = authorizer
    handler.auth_failed_timeout = _WRONG_LOGIN_SECONDS
    handler.banner = "pero-worker model store"
    with command.listen(given.host, given.port) as listener:
        server = FTPServer(listener, handler)
        command.announce(listener)
        server.serve_forever()


def _handler(given: argparse.Namespace) -> type[FTPHandler]:
    if given.tls_cert is None:
        if given.tls_key is not None:
            raise UsageError("--tls-key needs --tls-cert beside it")
        return type("Handler", (FTPHandler,), {})
    try:
        from pyftpdlib.handlers import TLS_FTPHandler  # noqa: PLC0415 - it exists only where pyOpenSSL does
    except ImportError as error:
        raise UsageError("FTPS needs the package pyOpenSSL: pip install pyopenssl") from error
    certificate, key = given.tls_cert, given.tls_key or given.tls_cert
    try:
        # Check with ssl first: pyOpenSSL's message for a wrong file is a list of tuples.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        raise UsageError(f"cannot use the certificate {certificate} with the key {key}: {error}") from error
    settings = {
        "certfile": str(certificate),
        "keyfile": str(key),
        "tls_control_required": True,
        "tls_data_required": True,
    }
    return type("Handler", (TLS_FTPHandler,), settings)


if __name__ == "__main__":
    main()
