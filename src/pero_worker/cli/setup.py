"""`pero-worker set-up`: creates certificates, passwords and configurations for a new cluster."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.late import command_app
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.cluster.setup.files import SetupOptions, make_set_up
from pero_worker.cluster.setup.templates import Ports
from pero_worker.wire.servers import Server

EPILOG = """
[bold]Example[/bold]

  pero-worker set-up cluster/ --host ocr.example.org --host 10.0.0.7

  pero-worker set-up cluster/ --host ocr.example.org --systemd
"""


def set_up(
    folder: Annotated[Path, typer.Argument(help="Where the files go.", metavar="DIR")],
    host: Annotated[
        list[str],
        typer.Option("--host", help="Name or address of the servers' machine; may be repeated, the first counts."),
    ],
    clients_at: Annotated[
        Path | None, typer.Option(help="Folder that will hold the clients' files on workers' machines.")
    ] = None,
    zookeeper_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of ZooKeeper with TLS.")
    ] = Ports().zookeeper,
    amqp_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of RabbitMQ with TLS.")] = Ports().amqp,
    management_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of RabbitMQ's web interface with TLS.")
    ] = Ports().management,
    sftp_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the model store.")] = Ports().sftp,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Also write systemd units for workers, watchdog and metrics.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files, passwords included.")] = False,
) -> None:
    """Create what RabbitMQ, ZooKeeper, a model store and all clients need to use TLS and passwords."""
    ports = Ports(zookeeper=zookeeper_port, amqp=amqp_port, management=management_port, sftp=sftp_port)
    options = SetupOptions(
        folder=folder, hosts=tuple(host), ports=ports, clients_at=clients_at, systemd=_program() if systemd else None
    )
    made = make_set_up(options, SystemClock(), secrets.token_bytes, force=force)
    for path in made.files:
        say(f"made {path}")
    client = folder / "client.toml"
    say(
        f"""
Start the servers on {host[0]}, and tell the workers where they are:

  docker compose -f {folder / "compose.yaml"} up -d
  pero-worker servers add mq {Server(host=host[0], port=amqp_port)} --config-file {client}
  pero-worker servers add mq_monitoring {Server(host=host[0], port=management_port)} --config-file {client}
  pero-worker servers add ftp {Server(host=host[0], port=sftp_port)} --config-file {client}

Workers' machines need ca.pem, known_hosts and client.toml in {(clients_at or folder).absolute()}:

  pero-worker worker --config-file {(clients_at or folder) / "client.toml"}

RabbitMQ's web interface: https://{Server(host=host[0], port=management_port)}, user admin, its password is in
{folder / "admin.password"}.
Keep {folder / "ca.key"} where no server runs."""
    )


def _program() -> Path:
    """Returns the command's path on this machine, which is probably the same on the other machines."""
    return Path(sys.executable).absolute().with_name("pero-worker")


app = command_app("set-up", set_up, EPILOG)
