"""scripts/mq_server_config_manager.py of the newest upstream: manages users and virtual hosts of RabbitMQ."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence

from pero_worker.cli.say import say
from pero_worker.cli.upstream.common import add_login, connection, make_parser
from pero_worker.cluster.management import TAGS, Management, ManagementAccess
from pero_worker.cluster.registry.servers import MONITORING, list_servers
from pero_worker.cluster.settings import cluster_access
from pero_worker.coordinators.session import session
from pero_worker.errors import UsageError


def main(arguments: Sequence[str]) -> None:
    parser = make_parser("Adds and removes users and virtual hosts of RabbitMQ, through its management interface.")
    add_login(parser, "ZooKeeper, and RabbitMQ without --mq-user")
    parser.add_argument("--mq-user", default="", metavar="USER", help="administrator of RabbitMQ")
    parser.add_argument("--mq-password", default="", metavar="PASSWORD", help="password of --mq-user")
    parser.add_argument("-d", "--delete", action="store_true", help="remove what -a, -v and -o name instead")
    parser.add_argument(
        "-a",
        "--add-user",
        nargs="+",
        metavar=("USER", "PASSWORD"),
        help="add or change a user; an omitted password of a new one is generated",
    )
    parser.add_argument("-t", "--tags", nargs="+", default=[], metavar="TAG", help=f"tags of -a: {', '.join(TAGS)}")
    parser.add_argument("-v", "--virtual-host-access", metavar="VHOST", help="virtual host that the user of -a may use")
    parser.add_argument("-o", "--add-virtual-host", metavar="VHOST", help="add a virtual host")
    parser.add_argument("-r", "--virtual-host-description", default="", metavar="TEXT", help="description of -o")
    parser.add_argument("-s", "--list-users", action="store_true", help="list the users and their tags")
    parser.add_argument("-i", "--list-virtual-hosts", action="store_true", help="list the virtual hosts")
    parser.add_argument(
        "-g", "--get-user-info", nargs="+", default=[], metavar="USER", help="tags and virtual hosts of users"
    )
    options = parser.parse_args(arguments)
    if problem := _impossible(options):
        parser.error(problem)
    access = cluster_access(connection(options))
    with session(access.zookeeper) as client:
        servers = list_servers(client, MONITORING)
    user, password = access.broker.user, access.broker.password
    if options.mq_user:
        user, password = options.mq_user, options.mq_password
    management = Management(
        ManagementAccess(servers=servers, user=user, password=password, ca_cert=access.broker.ca_cert)
    )
    if options.delete:
        _remove(management, options)
    else:
        _add(management, options)
    _tell(management, options)


def _impossible(options: argparse.Namespace) -> str:
    if not (
        options.add_user
        or options.add_virtual_host
        or options.list_users
        or options.list_virtual_hosts
        or options.get_user_info
        or options.virtual_host_access
    ):
        return "nothing to do: give -a, -o, -s, -i or -g"
    if bool(options.mq_user) != bool(options.mq_password):
        return "--mq-user and --mq-password belong together"
    if (options.virtual_host_access or options.tags) and not options.add_user:
        return "--virtual-host-access and --tags need --add-user: whose they are"
    if options.add_user and len(options.add_user) > 2:
        return "--add-user takes a user and a password"
    if options.virtual_host_description and not options.add_virtual_host:
        return "--virtual-host-description needs --add-virtual-host"
    return ""


def _add(management: Management, options: argparse.Namespace) -> None:
    if options.add_virtual_host:
        management.add_vhost(options.add_virtual_host, options.virtual_host_description)
    if not options.add_user:
        return
    name, *given_password = options.add_user
    password = given_password[0] if given_password else ""
    if given_password and not password:
        raise UsageError("an empty password lets nobody in: leave it out, and one is made up")
    if not password and management.user(name) is None:
        # Hexadecimal, because a password that began with a dash could not be typed after an option.
        password = secrets.token_hex(16)
        # Print it before it is sent: if one of several servers fails, the others already have it.
        say(f"Password of {name}: {password}")
    management.set_user(name, password, options.tags)
    if options.virtual_host_access:
        management.grant(name, options.virtual_host_access)


def _remove(management: Management, options: argparse.Namespace) -> None:
    """Removes a user; with -v only the user's access to that virtual host."""
    if options.add_virtual_host:
        management.remove_vhost(options.add_virtual_host)
    if options.virtual_host_access:
        management.revoke(options.add_user[0], options.virtual_host_access)
    elif options.add_user:
        management.remove_user(options.add_user[0])


def _tell(management: Management, options: argparse.Namespace) -> None:
    if options.list_virtual_hosts:
        say("List of vhosts:")
        for name, description in management.vhosts():
            say(f"{name}  {description}".rstrip())
    if options.list_users:
        say("List of users:")
        for user in management.users():
            say(f"{user.name}  {' '.join(user.tags)}".rstrip())
    for name in options.get_user_info:
        found = management.user(name)
        if found is None:
            raise UsageError(f"RabbitMQ knows no user {name}: see --list-users")
        say(f"User {name}, tags: {' '.join(found.tags) or '-'}, vhosts: {' '.join(found.vhosts) or '-'}")
