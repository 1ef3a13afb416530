"""RabbitMQ's management interface: users, virtual hosts, permissions and the list of queues."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pero_worker.errors import PeroWorkerError, TransientError, UsageError, joined
from pero_worker.wire.servers import MANAGEMENT_PORT, Server

TAGS = ("administrator", "monitoring", "policymaker", "management")
_EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
_MAX_ANSWER_BYTES = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of RabbitMQ."""

    name: str
    """The name they log in with."""
    tags: tuple[str, ...] = ()
    """Roles in the management interface, such as `administrator`."""
    vhosts: tuple[str, ...] = ()
    """Virtual hosts that they may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementAccess:
    """How to reach RabbitMQ's management interface."""

    servers: tuple[Server, ...]
    """The servers that offer it."""
    user: str
    """The name of an administrator."""
    password: str = field(repr=False)
    """The administrator's password."""
    ca_cert: str = ""
    """PEM file of the authority that signed the servers' certificates; '': plain HTTP, on loopback only."""
    timeout: float = 10.0
    """Timeout of each request, in seconds."""


class Management:
    """Sends changes to every server, and questions to each in turn until one answers.

    Raises `TransientError` if a server is away or refuses the login, `UsageError` if it refuses the request.
    """

    def __init__(self, access: ManagementAccess) -> None:
        self._access = access
        self._servers = [server.with_port(MANAGEMENT_PORT) for server in access.servers]
        if not self._servers:
            raise UsageError("no management server is registered: pero-worker servers add mq_monitoring HOST[:PORT]")
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if access.ca_cert:
            handlers.append(urllib.request.HTTPSHandler(context=_context(access.ca_cert)))
        else:
            for server in self._servers:
                if not _is_loopback(server.host):
                    raise UsageError(f"passwords do not go to {server} in the clear: give its authority with --ca-cert")
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    # -- questions ---------------------------------------------------------------------------------------------

    def users(self) -> tuple[User, ...]:
        return tuple(User(name=str(found["name"]), tags=_tags(found)) for found in self._ask("users") or ())

    def user(self, name: str) -> User | None:
        """Returns the user with their virtual hosts; None if there is no such user."""
        found = self._ask(_path("users", name))
        if found is None:
            return None
        granted = self._ask(_path("users", name, "permissions")) or ()
        return User(name=name, tags=_tags(found), vhosts=tuple(str(one["vhost"]) for one in granted))

    def vhosts(self) -> tuple[tuple[str, str], ...]:
        """Returns the names and descriptions of all virtual hosts."""
        return tuple((str(one["name"]), str(one.get("description") or "")) for one in self._ask("vhosts") or ())

    def queue_names(self) -> tuple[str, ...]:
        """Returns the queues of all virtual hosts that the user may see, each name once."""
        return tuple(sorted({str(one["name"]) for one in self._ask("queues?columns=name") or ()}))

    # -- changes -----------------------------------------------------------------------------------------------

    def set_user(self, name: str, password: str = "", tags: Sequence[str] = ()) -> None:
        """Creates a user, or changes the password or tags of an existing one; whatever is empty stays as it is."""
        if unknown := set(tags) - set(TAGS):
            raise UsageError(f"{', '.join(sorted(unknown))}: RabbitMQ's tags are {', '.join(TAGS)}")
        found = self._ask(_path("users", name))
        if found is None and not password:
            raise UsageError(f"user {name} is new, and needs a password")
        body = {"tags": ",".join(tags or (_tags(found) if found else ()))}
        if password:
            body["password"] = password
        elif found is not None:
            body |= {key: found[key] for key in ("password_hash", "hashing_algorithm") if found.get(key) is not None}
        self._tell("PUT", _path("users", name), body)

    def remove_user(self, name: str) -> None:
        self._tell("DELETE", _path("users", name))

    def grant(self, user: str, vhost: str) -> None:
        self._tell("PUT", _path("permissions", vhost, user), _EVERYTHING)

    def revoke(self, user: str, vhost: str) -> None:
        self._tell("DELETE", _path("permissions", vhost, user))

    def add_vhost(self, name: str, description: str = "") -> None:
        self._tell("PUT", _path("vhosts", name), {"description": description})

    def remove_vhost(self, name: str) -> None:
        self._tell("DELETE", _path("vhosts", name))

    # -- the inside --------------------------------------------------------------------------------------------

    def _ask(self, path: str) -> Any:
        """Returns the decoded answer; None if nothing of that name exists."""
        failures: list[PeroWorkerError] = []
        for server in self._servers:
            try:
                return self._call(server, "GET", path)
            except _NotFound:
                return None
            except TransientError as error:
                failures.append(error)
        raise joined(failures)

    def _tell(self, method: str, path: str, body: Mapping[str, str] | None = None) -> None:
        failures: list[PeroWorkerError] = []
        for server in self._servers:
            try:
                self._call(server, method, path, body)
            except (TransientError, UsageError) as error:
                failures.append(error)
        if failures:
            raise joined(failures)

    def _call(self, server: Server, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        scheme = "https" if self._access.ca_cert else "http"
        request = urllib.request.Request(  # noqa: S310 - the scheme is one of the two
            f"{scheme}://{server}/api/{path}", method=method, data=None if body is None else json.dumps(body).encode()
        )
        login = f"{self._access.user}:{self._access.password}".encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(login).decode())
        request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=self._access.timeout) as answer:
                text = answer.read(_MAX_ANSWER_BYTES)
            return json.loads(text) if text.strip() else None
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(server, path, error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
            raise TransientError(
                f"RabbitMQ's management interface at {scheme}://{server} does not answer: {reason}"
            ) from error

    def _refused(self, server: Server, path: str, error: urllib.error.HTTPError) -> TransientError | UsageError:
        if error.code == 401:
            return TransientError(f"RabbitMQ's management interface at {server} refuses the login of its user")
        if error.code == 404:
            return _NotFound(f"RabbitMQ at {server} knows no {path}")
        reason = error.reason
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            reason = json.loads(error.read(100_000)).get("reason") or reason
        text = f"RabbitMQ's management interface at {server} answers {error.code} to {path}: {reason}"
        return TransientError(text) if error.code >= 500 else UsageError(text)


class _NotFound(UsageError):
    """There is no such user or virtual host."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirects: the login is meant for the named server alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _context(ca_cert: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"cannot use the certificate {ca_cert}: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _tags(user: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the user's tags, which old servers send as one string and newer ones as a list."""
    tags = user.get("tags") or ()
    return tuple(tag.strip() for tag in tags.split(",") if tag.strip()) if isinstance(tags, str) else tuple(tags)
