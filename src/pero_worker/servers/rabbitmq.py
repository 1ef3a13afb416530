"""A private RabbitMQ from Debian's package, with the management plugin; loopback only.

Debian's wrapper scripts expect systemd's user and folders, so the underlying server is called directly, with everything
that it would otherwise take from the machine set to `folder`.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import quote

from pero_worker.servers.daemon import Daemon, answers, free_port
from pero_worker.servers.private import write_private
from pero_worker.wire.queues import MAX_MESSAGE_BYTES, MAX_PAGE_MILLISECONDS

SERVER_VARIABLE = "PERO_WORKER_RABBITMQ"
"""Environment variable that names the server's program if it is not the one from Debian's package."""
_GUEST = "guest"
_DEBIANS = "/usr/lib/rabbitmq/bin/rabbitmq-server"


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitServer:
    """A RabbitMQ server with one node."""

    folder: Path
    """Folder for its data, configuration and log."""
    port: int
    """AMQP port."""
    management: int
    """Port of the HTTP interface."""
    distribution: int
    """Port for Erlang's connections between nodes."""
    epmd: int
    """Port of Erlang's port mapper."""
    vhost: str = "/"
    """The virtual host for everything in the cluster."""
    extra: str = ""
    """Additional lines for rabbitmq.conf."""
    user: str = _GUEST
    """The user. One other than guest is created at the server's first start and is the only one."""
    password: str = field(default=_GUEST, repr=False)
    """The user's password."""

    @classmethod
    def on_free_ports(
        cls, folder: Path, port: int = 0, management: int = 0, *, vhost: str = "/", extra: str = ""
    ) -> RabbitServer:
        amqp = free_port(port)
        http = free_port(management, [amqp])
        distribution = free_port(0, [amqp, http])
        epmd = free_port(0, [amqp, http, distribution])
        return cls(
            folder=folder,
            port=amqp,
            management=http,
            distribution=distribution,
            epmd=epmd,
            vhost=vhost,
            extra=extra,
        )

    @property
    def daemon(self) -> Daemon:
        return Daemon(name="rabbitmq", folder=self.folder)

    def start(self) -> None:
        """Starts the server on whatever data `folder` already holds, and waits until it is ready."""
        for name in ("mnesia", "log", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        write_private(
            self.folder / "rabbitmq.conf",
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            f"management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self.management}\n"
            f"default_vhost = {self.vhost}\n"
            f"default_user = {self.user}\n"
            f"default_pass = {self.password}\n"
            "log.console = false\n"
            "collect_statistics_interval = 1000\n"
            f"max_message_size = {MAX_MESSAGE_BYTES}\n"
            f"consumer_timeout = {MAX_PAGE_MILLISECONDS}\n"
            f"{self.extra}\n",
        )
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        epmd = Daemon(name="epmd", folder=self.folder)
        if epmd.pid is None and not answers(self.epmd):  # Nodes of one cluster share a mapper.
            # Otherwise the server starts one that outlives it and belongs to nobody.
            epmd.start(["epmd", "-address", "127.0.0.1", "-port", str(self.epmd)], {})
            epmd.wait_until(lambda: answers(self.epmd))
        self.daemon.start([str(_program())], self._environment())
        self.daemon.wait_until(self._ready, timeout=120)

    def stop(self, signal_number: int = signal.SIGTERM) -> bool:
        stopped = self.daemon.stop(signal_number)
        Daemon(name="epmd", folder=self.folder).stop()
        return stopped

    def api(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        """Makes one call to the management interface as `user`."""
        return self._api(method, path, body, f"{self.user}:{self.password}")

    def _api(self, method: str, path: str, body: Mapping[str, object] | None, login: str) -> object:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management}/api/{path}", method=method, data=json.dumps(body or {}).encode()
        )
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    def control(self, *arguments: str) -> None:
        """Makes one call of rabbitmqctl, which takes about a second; the error of a failed call holds its output."""
        command = [str(_program().with_name("rabbitmqctl")), "-n", self.node, *arguments]
        subprocess.run(command, env={**os.environ, **self._environment()}, check=True, capture_output=True)  # noqa: S603

    @property
    def node(self) -> str:
        """The node's name in a cluster."""
        return f"pero{self.port}@localhost"

    def _ready(self) -> bool:
        try:
            self.api("GET", "queues")
        except urllib.error.HTTPError as error:
            if error.code == http.client.UNAUTHORIZED and self.user != _GUEST:
                self._replace_guest()
            return False
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _replace_guest(self) -> None:
        """Replaces guest, the only user in earlier versions, with `user`."""
        guest = f"{_GUEST}:{_GUEST}"
        with suppress(urllib.error.URLError):
            self._api("PUT", f"users/{self.user}", {"password": self.password, "tags": "administrator"}, guest)
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            for vhost in cast("list[dict[str, str]]", self._api("GET", "vhosts", None, guest)):
                self._api("PUT", f"permissions/{quote(vhost['name'], safe='')}/{self.user}", everything, guest)
            self.api("DELETE", f"users/{_GUEST}")

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder / "home"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            # Makes the script exec the Erlang process, so that its pid is the server's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "LC_ALL": "C.UTF-8",
        }


def _program() -> Path:
    return Path(os.environ.get(SERVER_VARIABLE) or _DEBIANS)
