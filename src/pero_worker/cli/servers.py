"""`pero-worker servers`: manages where workers find RabbitMQ and the model store."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cli.listing import print_list
from pero_worker.cli.say import say
from pero_worker.cluster.registry.acl import protect as protect_nodes
from pero_worker.cluster.registry.servers import FTP, KINDS, MONITORING, MQ, add_servers, list_names, remove_servers
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.coordinators.session import session
from pero_worker.names import counted

app = typer.Typer(help="The servers registered in ZooKeeper.", no_args_is_help=True)


class Kind(StrEnum):
    mq = MQ
    mq_monitoring = MONITORING
    ftp = FTP


KindArgument = Annotated[Kind, typer.Argument(help="mq (RabbitMQ), mq_monitoring (its web interface) or ftp (models).")]
Names = Annotated[list[str], typer.Argument(help="HOST, HOST:PORT or [IPv6]:PORT.")]


@app.command("list", epilog=examples("pero-worker servers list", "pero-worker servers list --json"))
@cluster_command
def list_(
    connection: ConnectionOptions, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List them."""
    with session(cluster_access(connection).zookeeper) as client:
        names = {kind: list_names(client, kind) for kind in KINDS}
    if as_json:
        typer.echo(json.dumps(names))
        return
    print_list(
        ("kind", "server"),
        [(kind, name) for kind in KINDS for name in names[kind]],
        empty="no servers are registered: see pero-worker servers add",
    )


@app.command(epilog=examples("pero-worker servers add mq rabbit.example.org:5672"))
@cluster_command
def add(connection: ConnectionOptions, kind: KindArgument, names: Names) -> None:
    """Register servers."""
    with session(cluster_access(connection).zookeeper) as client:
        add_servers(client, kind.value, names)
    say(f"registered: {', '.join(names)}")


@app.command(epilog=examples("pero-worker servers remove ftp old.example.org", "pero-worker servers remove mq all"))
@cluster_command
def remove(connection: ConnectionOptions, kind: KindArgument, names: Names) -> None:
    """Unregister servers; `all` unregisters all of them."""
    with session(cluster_access(connection).zookeeper) as client:
        gone = remove_servers(client, kind.value, names)
    say(f"forgotten: {', '.join(gone) or 'none was registered'}")


@app.command(epilog=examples("pero-worker servers protect --config-file cluster/client.toml"))
@cluster_command
def protect(
    connection: ConnectionOptions,
    open_to_all: Annotated[bool, typer.Option("--open", help="Open them to everybody instead.")] = False,
) -> None:
    """Restrict all of the cluster's nodes in ZooKeeper to the user who is logged in."""
    access = cluster_access(connection).zookeeper
    with session(access) as client:
        number = protect_nodes(client, access.user, open_to_all=open_to_all)
    say(f"{counted(number, 'node')} {'left open to everybody' if open_to_all else f'of {access.user} alone'}")
