"""scripts/server_config_manager.py of the newest upstream: manages the servers registered in ZooKeeper."""

from __future__ import annotations

from collections.abc import Sequence

from pero_worker.cli.say import say_lines
from pero_worker.cli.upstream.common import add_login, connection, make_parser
from pero_worker.cluster.registry.servers import FTP, MONITORING, MQ, add_servers, list_names, remove_servers
from pero_worker.cluster.settings import cluster_access
from pero_worker.coordinators.session import session

_KINDS = {"mq": (MQ, "MQ"), "ftp": (FTP, "FTP"), "monitoring": (MONITORING, "Monitoring")}


def main(arguments: Sequence[str]) -> None:
    """Removes first, then adds, and lists last, as upstream does."""
    parser = make_parser("Registers and forgets servers.")
    add_login(parser, "ZooKeeper")
    for flag, (_, title) in _KINDS.items():
        servers = f"{title} servers"
        parser.add_argument(f"--list-{flag}-servers", action="store_true", help=f"list the registered {servers}")
        parser.add_argument(
            f"--add-{flag}-servers", nargs="+", default=[], metavar="SERVER", help=f"{servers} to register"
        )
        parser.add_argument(
            f"--rm-{flag}-servers", nargs="+", default=[], metavar="SERVER", help=f"{servers} to forget, or: all"
        )
    options = vars(parsed := parser.parse_args(arguments))
    if not any(options[f"{what}_{flag}_servers"] for what in ("list", "add", "rm") for flag in _KINDS):
        parser.error("nothing to do: give --list-..., --add-... or --rm-...-servers, of mq, ftp or monitoring")
    with session(cluster_access(connection(parsed)).zookeeper) as client:
        for flag, (kind, _) in _KINDS.items():
            if names := options[f"rm_{flag}_servers"]:
                remove_servers(client, kind, names)
        for flag, (kind, _) in _KINDS.items():
            add_servers(client, kind, options[f"add_{flag}_servers"])
        for flag, (kind, title) in _KINDS.items():
            if options[f"list_{flag}_servers"]:
                say_lines("\n".join([f"{title} server list:", *list_names(client, kind)]))
