"""`pero-worker stage`: manages a cluster's stages and output queues."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cli.listing import print_list
from pero_worker.cli.progress import bytes_bar
from pero_worker.cli.say import say, say_lines, warn
from pero_worker.clock import SystemClock
from pero_worker.cluster.opening import open_cluster
from pero_worker.cluster.registry.changes import StageChange, read_config, remove_stage, save_stage
from pero_worker.cluster.registry.queuekinds import default_kind, is_stage, set_default_kind
from pero_worker.cluster.registry.rollback import roll_back, versions_of
from pero_worker.cluster.registry.stages import read_record, stage_names
from pero_worker.cluster.registry.upload import upload_stage
from pero_worker.cluster.settings import ConnectionOptions, cluster_access, store_access
from pero_worker.coordinators.session import session
from pero_worker.errors import UsageError
from pero_worker.models.trust import is_digest
from pero_worker.names import counted
from pero_worker.stores.location import without_login
from pero_worker.work import QueueKind
from pero_worker.worker.trial import DEFAULT_SECONDS

app = typer.Typer(help="Stages: what is done to pages, and with which model.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME")]
Config = Annotated[Path | None, typer.Option("-c", "--config", help="config.ini of the stage.", metavar="FILE")]
Remote = Annotated[
    str | None, typer.Option("-r", "--remote-path", help="Model archive in the store: a path or URL.", metavar="PATH")
]
Version = Annotated[str | None, typer.Option(help="Name of this version.", show_default="the time")]
Priority = Annotated[int | None, typer.Option(help="Higher is served sooner; -1 disables the stage.")]


@app.command(
    epilog=examples(
        "pero-worker stage add ocr -c config.ini -r models/ocr.tar.xz",
        "pero-worker stage add out     (an output queue)",
    )
)
@cluster_command
def add(
    connection: ConnectionOptions,
    name: Name,
    config: Config = None,
    remote_path: Remote = None,
    version: Version = None,
    priority: Priority = None,
    needs: Annotated[str | None, typer.Option(help="Label that its workers must have: cuda, or one of yours.")] = None,
    owner: Annotated[str | None, typer.Option(help="Owner; owners get equal parts of the workers.")] = None,
    share: Annotated[float | None, typer.Option(help="The owner's part; 2 = twice an ordinary one.")] = None,
    queue: Annotated[
        QueueKind | None,
        typer.Option(help="How RabbitMQ keeps its pages: on one node, or on several.", show_default="as the cluster"),
    ] = None,
    sha256: Annotated[
        str, typer.Option(help="SHA-256 of the archive at --remote-path: workers accept no other.", metavar="DIGEST")
    ] = "",
) -> None:
    """Create a stage or change its settings; without options, create an output queue."""
    if sha256 and not (is_digest(sha256) and remote_path):
        raise UsageError("--sha256 needs 64 hexadecimal digits and --remote-path")
    change = StageChange(
        config=read_config(config) if config else None,
        archive=remote_path,
        version=version,
        priority=priority,
        archive_digest=sha256.lower() or None,
        sharing={
            name: value for name, value in (("needs", needs), ("owner", owner), ("share", share)) if value is not None
        },
        queue=queue,
    )
    with open_cluster(cluster_access(connection)) as cluster:
        save_stage(cluster.zookeeper, cluster.broker, name, change, SystemClock().now())
        is_output = not is_stage(cluster.zookeeper, name)
    say(f"output queue {name} exists" if is_output else f"stage {name} is saved")


@app.command(
    epilog=examples(
        "pero-worker stage upload ocr model/      (a folder with a config.ini)",
        "pero-worker stage upload ocr model.tar.xz -r models/ocr-2.tar.xz",
        "pero-worker stage upload ocr print-latin (a bundled pipeline: see pero-worker pipelines)",
    )
)
@cluster_command
def upload(
    connection: ConnectionOptions,
    name: Name,
    model: Annotated[
        Path, typer.Argument(help="A folder or archive with the model's files, or a bundled pipeline.", metavar="MODEL")
    ],
    config: Config = None,
    remote_path: Remote = None,
    version: Version = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Load it and try it on a page before it is published.")
    ] = True,
    check_seconds: Annotated[float, typer.Option(min=1, help="Seconds that the check may take.")] = DEFAULT_SECONDS,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
) -> None:
    """Put a model into the store and create or upgrade its stage; workers switch to it between two pages."""
    text = read_config(config) if config else None
    with open_cluster(cluster_access(connection)) as cluster, bytes_bar(visible=not quiet) as bar:
        task = bar.add_task("uploading", total=None)
        uploaded = upload_stage(
            cluster,
            store_access(connection),
            name,
            model,
            SystemClock().now(),
            config=text,
            path=remote_path,
            version=version,
            check_seconds=check_seconds if check else 0.0,
            on_size=lambda size: bar.update(task, total=size),
            on_progress=lambda sent: bar.update(task, completed=sent),
        )
    if uploaded.unchecked and check:
        warn(f"it was not tried before: {uploaded.unchecked}")
    say(f"{model} is in the store as {uploaded.archive}, stage {name} has version {uploaded.version}")


@app.command(epilog=examples("pero-worker stage history ocr"))
@cluster_command
def history(
    connection: ConnectionOptions,
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the versions of a stage, newest first; those that were rolled back are marked."""
    with session(cluster_access(connection).zookeeper) as client:
        versions = versions_of(client, name)[::-1]
    if as_json:
        typer.echo(
            json.dumps([asdict(replace(one, archive=without_login(one.archive))) for one in versions], default=str)
        )
        return
    print_list(
        ("version", "since", "archive", "state"),
        [
            (
                one.version,
                one.since.isoformat(sep=" ", timespec="seconds") if one.since else "",
                without_login(one.archive),
                "present" if number == 0 else "gone back from" if one.withdrawn else "",
            )
            for number, one in enumerate(versions)
        ],
        empty=f"{name} is an output queue: it has no versions",
    )


@app.command(
    epilog=examples("pero-worker stage rollback ocr", "pero-worker stage rollback ocr --to 2026-11-25T08:00:00+00:00")
)
@cluster_command
def rollback(
    connection: ConnectionOptions,
    name: Name,
    to: Annotated[
        str, typer.Option(help="The version to go back to.", show_default="the last one not rolled back")
    ] = "",
) -> None:
    """Go back to an earlier version of a stage; workers switch to it between two pages."""
    with open_cluster(cluster_access(connection)) as cluster:
        left, now = roll_back(cluster.zookeeper, cluster.broker, name, SystemClock().now(), to=to)
    say(f"stage {name} has version {now.version} again, in place of {left.version}")


@app.command(epilog=examples("pero-worker stage queues", "pero-worker stage queues quorum"))
@cluster_command
def queues(
    connection: ConnectionOptions,
    kind: Annotated[QueueKind | None, typer.Argument(metavar="KIND", help="classic or quorum.")] = None,
) -> None:
    """Show or set how RabbitMQ keeps the pages of new stages: on one node (classic), or on several (quorum)."""
    with session(cluster_access(connection).zookeeper) as client:
        if kind is not None:
            set_default_kind(client, kind)
        say(f"queues that are made from now on are {default_kind(client)}, unless their stage says otherwise")


@app.command("list", epilog=examples("pero-worker stage list", "pero-worker stage list --json"))
@cluster_command
def list_(
    connection: ConnectionOptions, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the stages."""
    with session(cluster_access(connection).zookeeper) as client:
        records = [read_record(client, name) for name in stage_names(client)]
    if as_json:
        typer.echo(json.dumps([asdict(replace(r, archive=without_login(r.archive))) for r in records], default=str))
        return
    print_list(
        ("stage", "version", "archive", "state"),
        [
            (record.name, record.version, without_login(record.archive), "disabled" if record.disabled else "")
            for record in records
        ],
        empty="there are no stages: see pero-worker stage upload",
    )


@app.command(epilog=examples("pero-worker stage show ocr"))
@cluster_command
def show(connection: ConnectionOptions, name: Name) -> None:
    """Print everything that is known about a stage, its config.ini last."""
    with session(cluster_access(connection).zookeeper) as client:
        record = read_record(client, name)
    mean = f"{record.mean_seconds:.3f} s" if record.mean_seconds is not None else "not known yet"
    say_lines(f"name          {record.name}\nversion       {record.version or '-'}")
    say(f"archive       {without_login(record.archive) or '-'}")
    say(f"priority      {-1 if record.disabled else record.priority}")
    say(f"queue         {record.queue or '-'}")
    say_lines(f"mean time     {mean}\nwaiting since {record.waiting_since or '-'}\n\n{record.config}")


@app.command(epilog=examples("pero-worker stage remove ocr", "pero-worker stage remove out --force"))
@cluster_command
def remove(
    connection: ConnectionOptions,
    name: Name,
    keep_config: Annotated[bool, typer.Option("-k", "--keep-config", help="Remove the queue only.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if pages wait in its queue.")] = False,
) -> None:
    """Remove a stage and its queue."""
    with open_cluster(cluster_access(connection)) as cluster:
        state = cluster.broker.state(name)
        if state is not None and state.messages and not force:
            waiting = counted(state.messages, "page")
            raise UsageError(f"{waiting} in {name} would be lost: use --force if that may be")
        lost = remove_stage(cluster.zookeeper, cluster.broker, name, keep_config=keep_config)
    say(f"stage {name} is removed" + (f", and {counted(lost, 'page')} with it" if lost else ""))
