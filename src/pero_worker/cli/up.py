"""`pero-worker up`: runs the servers of a cluster on this machine, from Debian's packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from pero_worker.cli.late import command_app
from pero_worker.cli.say import say_lines, warn
from pero_worker.cluster.registry.servers import FTP, MONITORING, MQ, set_servers
from pero_worker.coordinators.access import ZooKeeperAccess
from pero_worker.coordinators.session import session
from pero_worker.servers.local import LocalServers
from pero_worker.servers.own import remember

Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder for all of the servers' data.", show_default="in the user's data folder"),
]
EPILOG = """
[bold]Example[/bold]

  sudo scripts/apt-install.sh rabbitmq-server zookeeper

  pero-worker up

They listen on 127.0.0.1 only and let only you in: your commands find them, and the password, by themselves.
For several machines, or several users of this one: pero-worker set-up.
"""


def up(folder: Folder = None) -> None:
    """Start RabbitMQ, ZooKeeper and an FTP server for this machine, and register them."""
    warn("starting the servers")
    addresses = LocalServers(folder_of(folder)).start()
    access = ZooKeeperAccess(servers=(addresses.zookeeper,), user=addresses.user, password=addresses.password)
    with session(access) as client:
        set_servers(client, MQ, [addresses.rabbitmq])
        set_servers(client, MONITORING, [addresses.management])
        set_servers(client, FTP, [addresses.ftp])
    remember(folder_of(folder))
    say_lines(
        f"ZooKeeper  {addresses.zookeeper}\n"
        f"RabbitMQ   {addresses.rabbitmq}, web interface http://{addresses.management}\n"
        f"FTP        {addresses.ftp}, its files are in {addresses.ftp_root}\n"
        f"login      {addresses.user}, with the password in {addresses.client_file}; your own commands find both\n"
        "next       pero-worker worker & pero-worker watchdog &"
    )


def folder_of(folder: Path | None) -> Path:
    """Returns the folder where the servers keep everything; `folder` if one is given."""
    return folder or Path(platformdirs.user_data_dir("pero-worker")) / "cluster"


app = command_app("up", up, EPILOG)
