"""Creates everything that a new cluster's servers and clients need: certificates, passwords, configuration files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pero_worker.cluster.setup import systemd, templates
from pero_worker.cluster.setup.certificates import new_authority, sign_server
from pero_worker.cluster.setup.templates import Ports
from pero_worker.errors import OutputError, UsageError
from pero_worker.ports import Clock
from pero_worker.wire.queues import LOG_QUEUE
from pero_worker.wire.servers import parse_server

ALWAYS = ("localhost", "127.0.0.1")
_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 825
_LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LENGTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupOptions:
    """What to create for a cluster."""

    folder: Path
    """Folder to create the files in."""
    hosts: tuple[str, ...]
    """Names and addresses at which the servers are reached; the clients' files use the first."""
    ports: Ports = field(default_factory=Ports)
    """Ports that the servers listen on."""
    servers_at: Path | None = None
    """Folder where servers see their files; None: `/cluster`, as in compose.yaml."""
    clients_at: Path | None = None
    """Folder where the clients' files will be; None: where they are created."""
    systemd: Path | None = None
    """The installed program that systemd units should start; None: create no units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupResult:
    """What was created."""

    files: tuple[Path, ...]
    """All files, in order of creation."""
    password: str = field(repr=False)
    """Password of the user `pero` on all three servers."""
    admin_password: str = field(repr=False)
    """Administrator's password for RabbitMQ's web interface."""


def make_set_up(
    given: SetupOptions, clock: Clock, randbytes: Callable[[int], bytes], *, force: bool = False
) -> SetupResult:
    """Writes the files; secret ones are readable only by their owner.

    Raises `UsageError` if a host is invalid, or if files exist already and `force` is not given, `OutputError` if they
    cannot be written.
    """
    hosts = checked_hosts(given.hosts)
    password, admin_password = _password(randbytes), _password(randbytes)
    now = clock.now()
    authority = new_authority(f"pero-worker {hosts[0]}", now, timedelta(days=_AUTHORITY_DAYS))
    server = sign_server(authority, [*hosts, *ALWAYS], now, timedelta(days=_SERVER_DAYS))
    host_key = Ed25519PrivateKey.generate()
    public = host_key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    clients = (given.clients_at or given.folder).absolute()
    cluster = templates.ClientFile(
        host=hosts[0],
        ports=given.ports,
        password=password,
        ca_cert=str(clients / "ca.pem"),
        known_hosts=str(clients / "known_hosts"),
        log_queue=LOG_QUEUE,
    )
    at = given.servers_at or Path("/cluster")
    files = {
        "ca.pem": authority.pair.certificate,
        "ca.key": authority.pair.key,
        "server.pem": server.certificate,
        "server.key": server.key,
        # ZooKeeper reads key and certificates from one file.
        "zookeeper.pem": server.key + server.certificate + authority.pair.certificate,
        "ssh_host_ed25519_key": host_key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "known_hosts": "".join(
            f"{_ssh_name(host, given.ports.sftp)} {public}\n" for host in (*hosts, *ALWAYS)
        ).encode(),
        "users.conf": f"{templates.USER}:{password}:1000:1000:models\n".encode(),
        "rabbitmq.conf": templates.rabbitmq(at, given.ports).encode(),
        "definitions.json": _definitions(password, admin_password, randbytes),
        "enabled_plugins": b"[rabbitmq_management].\n",
        "zoo.cfg": templates.zookeeper(at, given.ports).encode(),
        "jaas.conf": templates.jaas(password).encode(),
        "client.toml": templates.client(cluster).encode(),
        "worker.ini": templates.worker_ini(cluster).encode(),
        "compose.yaml": templates.compose(given.ports).encode(),
        "admin.password": f"{admin_password}\n".encode(),
    }
    if given.systemd:
        made = systemd.units(given.systemd, clients)
        files |= {f"systemd/{name}": text.encode() for name, text in made.items()}
    there = [name for name in files if (given.folder / name).exists()]
    if there and not force:
        raise UsageError(
            f"{given.folder} has {', '.join(there)} already: choose another folder, or --force to make new "
            "certificates and passwords, which no running server and no client knows"
        )
    try:
        given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            (given.folder / name).parent.mkdir(mode=0o700, exist_ok=True)
            _write(given.folder / name, content, 0o644 if name in _PUBLIC else 0o600)
    except OSError as error:
        raise OutputError(f"cannot write to {given.folder}: {error.strerror or error}") from error
    return SetupResult(
        files=tuple(given.folder / name for name in files), password=password, admin_password=admin_password
    )


_PUBLIC = {"ca.pem", "server.pem", "known_hosts", "compose.yaml", "enabled_plugins"}


def checked_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Returns each host once. Raises `UsageError` if there are none, or if one is neither a name nor an address."""
    servers = [parse_server(host) for host in hosts]
    if with_port := [str(server) for server in servers if server.port is not None]:
        raise UsageError(f"{with_port[0]}: a host is named without a port here")
    if not servers:
        raise UsageError("name the machine on which the servers will run: --host NAME")
    return tuple(dict.fromkeys(server.host for server in servers))


def _ssh_name(host: str, port: int) -> str:
    """Returns the host as written in known_hosts."""
    return host if port == 22 else f"[{host}]:{port}"


def _password(randbytes: Callable[[int], bytes]) -> str:
    """Returns a password of letters and digits that cannot be confused and never need quoting."""
    letters: list[str] = []
    while len(letters) < _LENGTH:
        letters += [_LETTERS[byte] for byte in randbytes(_LENGTH) if byte < len(_LETTERS)]
    return "".join(letters[:_LENGTH])


def password_hash(password: str, salt: bytes) -> str:
    """Returns the hash as RabbitMQ stores it: base64 of the salt, then SHA-256 of salt and password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _definitions(password: str, admin_password: str, randbytes: Callable[[int], bytes]) -> bytes:
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    logins = ((templates.USER, password, "monitoring"), (templates.ADMIN, admin_password, "administrator"))
    definitions = {
        "users": [
            {
                "name": user,
                "password_hash": password_hash(secret, randbytes(4)),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [tag],
                "limits": {},
            }
            for user, secret, tag in logins
        ],
        "vhosts": [{"name": templates.VHOST}],
        "permissions": [{"user": user, "vhost": templates.VHOST, **everything} for user, _, _ in logins],
    }
    return json.dumps(definitions, indent=2).encode() + b"\n"


def _write(path: Path, content: bytes, mode: int) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123
        file.write(content)
    unfinished.replace(path)
