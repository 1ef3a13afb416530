"""The options that all commands of a cluster share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from pero_worker.cluster.settings import (
    ConnectionOptions,
    connection_options,
    read_password,
    read_settings,
)

_PANEL = "Where the cluster is"
_SECTIONS = ("WORKER", "WATCHDOG")

_OPTIONS: dict[str, Any] = {
    "zookeeper": Annotated[
        list[str] | None,
        typer.Option(
            "-z",
            "--zookeeper",
            envvar="PERO_WORKER_ZOOKEEPER",
            help="HOST[:PORT], repeated or separated by commas; HOST/ROOT: a cluster of its own. [up's, or 127.0.0.1]",
            rich_help_panel=_PANEL,
        ),
    ],
    "user": Annotated[
        str,
        typer.Option(envvar="PERO_WORKER_USER", help="Login at ZooKeeper, RabbitMQ, store.", rich_help_panel=_PANEL),
    ],
    "password_file": Annotated[
        Path | None,
        typer.Option(
            envvar="PERO_WORKER_PASSWORD_FILE",
            help="File with the password (or set PERO_WORKER_PASSWORD).",
            rich_help_panel=_PANEL,
        ),
    ],
    "ca_cert": Annotated[
        str,
        typer.Option(envvar="PERO_WORKER_CA_CERT", help="PEM file of the CA: use TLS.", rich_help_panel=_PANEL),
    ],
    "vhost": Annotated[
        str,
        typer.Option(
            envvar="PERO_WORKER_VHOST", help="RabbitMQ's virtual host. [pero, or else /]", rich_help_panel=_PANEL
        ),
    ],
    "open_nodes": Annotated[
        bool,
        typer.Option(
            "--open-nodes",
            envvar="PERO_WORKER_OPEN_NODES",
            help="With a login: let everybody use the created ZooKeeper nodes, for programs that do not log in.",
            rich_help_panel=_PANEL,
        ),
    ],
    "config_file": Annotated[
        Path | None,
        typer.Option(
            "--config-file",
            envvar="PERO_WORKER_CONFIG",
            help="TOML, or upstream's worker.ini, for options not given here.",
            rich_help_panel=_PANEL,
        ),
    ],
}
_DEFAULTS: dict[str, Any] = {"user": "", "ca_cert": "", "vhost": "", "open_nodes": False}


def cluster_command(function: Callable[..., None], sections: Sequence[str] = _SECTIONS) -> Callable[..., None]:
    """Adds the options above to a command, which receives them as `connection: ConnectionOptions`, its first parameter.

    `sections` are those of an ini file to look for; the first that exists is read.
    """

    @wraps(function)
    def command(*arguments: Any, **options: Any) -> None:
        values = {name: options.pop(name) for name in _OPTIONS}
        function(_options(**values, sections=sections), *arguments, **options)

    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "connection"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
    command.__dict__["__signature__"] = signature.replace(parameters=parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def configured(context: typer.Context, *sections: str) -> dict[str, str]:
    """Returns the other settings in the command's configuration file, if it has one; `sections` as for
    `cluster_command`."""
    path = context.params.get("config_file")
    return read_settings(Path(path), *sections) if path else {}


def connection_to(zookeeper: str) -> ConnectionOptions:
    """Returns the options for a command that offers only one of them; the rest comes from the environment."""
    return connection_options(ConnectionOptions(zookeeper=zookeeper), *_SECTIONS)


def _options(
    zookeeper: list[str] | None,
    password_file: Path | None = None,
    config_file: Path | None = None,
    open_nodes: bool = False,
    sections: Sequence[str] = _SECTIONS,
    **plain: str,
) -> ConnectionOptions:
    """Combines the options: flags first, then the environment, then the file."""
    flags = ConnectionOptions(
        zookeeper=",".join(zookeeper or ()),
        password=read_password(password_file) if password_file else "",
        open_nodes="yes" if open_nodes else "",
        **plain,
    )
    return connection_options(flags, *sections, config_file=config_file)
