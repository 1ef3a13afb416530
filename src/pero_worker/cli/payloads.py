"""`pero-worker payloads`: manages images and results in a store next to the broker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated

import typer
from kazoo.client import KazooClient

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cli.listing import print_list
from pero_worker.cli.say import say, warn
from pero_worker.cluster.payloads.followers import who_cannot_follow
from pero_worker.cluster.payloads.sweep import sweep
from pero_worker.cluster.registry.payloads import MIN_KEEP_DAYS, read_settings, save_settings
from pero_worker.cluster.registry.workers import read_workers
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.coordinators.session import session
from pero_worker.errors import TransientError, UsageError
from pero_worker.names import counted
from pero_worker.stores.location import check_no_login
from pero_worker.stores.objects import ObjectStore

app = typer.Typer(
    help="Keep images and results in a store next to RabbitMQ, which then carries references.", no_args_is_help=True
)
Url = Annotated[
    str | None,
    typer.Argument(
        help="file:///FOLDER that all machines mount, sftp:// or ftp(s)://HOST/FOLDER, s3://BUCKET/FOLDER, or an "
        "http(s)://HOST/FOLDER that takes PUT and DELETE.",
        metavar="[URL]",
        show_default="as before",
    ),
]


@app.command(
    "set",
    epilog=examples(
        "pero-worker payloads set sftp://store.example.org/payloads",
        "pero-worker payloads set file:///mnt/payloads --output out",
        "pero-worker payloads set --inline ocr-of-theirs --keep-days 14",
    ),
)
@cluster_command
def set_(
    connection: ConnectionOptions,
    url: Url = None,
    min_size: Annotated[
        int | None,
        typer.Option(min=1, help="kB; what is smaller travels in messages.", show_default="64, or as before"),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=MIN_KEEP_DAYS,
            help="Days after which contents are removed, even if still needed.",
            show_default="30, or as before",
        ),
    ] = None,
    inline: Annotated[
        list[str] | None,
        typer.Option(help="Stage served by other programs: its messages carry everything. '' = none."),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(help="Output queue that only pero-worker empties: it gets references. '' = none."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if some workers cannot follow references.")] = False,
) -> None:
    """Send large images and results as references from now on. Options not given keep their values."""
    access = cluster_access(connection)
    with session(access.zookeeper) as client:
        before = read_settings(client)
        wanted = replace(
            before,
            url=before.url if url is None else check_no_login(url.rstrip("/")),
            min_bytes=before.min_bytes if min_size is None else 1000 * min_size,
            keep_days=before.keep_days if keep_days is None else keep_days,
            inline=before.inline if inline is None else tuple(filter(None, inline)),
            outputs=before.outputs if output is None else tuple(filter(None, output)),
        )
        if not wanted.url:
            raise UsageError("name the store: pero-worker payloads set sftp://HOST/FOLDER")
        cannot = list(who_cannot_follow(wanted, read_workers(client)))
        if cannot and not force:
            names = ", ".join(sorted({f"{worker} ({stage})" for worker, stage in cannot}))
            raise UsageError(
                f"these workers cannot follow references: {names}. Stop them, or say --inline STAGE of what they serve"
            )
        with _opened(wanted.url, connection) as store:
            store.prepare()
        save_settings(client, wanted)
    say(f"contents of {wanted.min_bytes // 1000} kB or more go to {wanted.url} from now on")


@app.command(epilog=examples("pero-worker payloads off"))
@cluster_command
def off(connection: ConnectionOptions) -> None:
    """Send everything in messages again. The store keeps its contents until their pages are done, or they are old."""
    with session(cluster_access(connection).zookeeper) as client:
        save_settings(client, replace(read_settings(client), url=""))
    say("everything travels in messages from now on")


@app.command(epilog=examples("pero-worker payloads show", "pero-worker payloads show --json"))
@cluster_command
def show(
    connection: ConnectionOptions, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show where they are stored, which queues get references, and whether the store answers."""
    with session(cluster_access(connection).zookeeper) as client:
        settings = read_settings(client)
    if as_json:
        typer.echo(json.dumps(asdict(settings)))
        return
    say(f"store     {settings.url or '- (everything travels in messages)'}")
    say(f"from      {settings.min_bytes // 1000} kB")
    say(f"kept      {settings.keep_days:g} days at most")
    say(f"inline    {' '.join(settings.inline) or '-'}")
    say(f"outputs   {' '.join(settings.outputs) or '- (but job.* and gateway.results)'}")
    say(f"earlier   {' '.join(settings.earlier) or '-'}")
    if settings.url:
        with _opened(settings.url, connection) as store:
            store.check()
        say("the store answers")


@app.command("list", epilog=examples("pero-worker payloads list"))
@cluster_command
def list_(connection: ConnectionOptions) -> None:
    """Show the store's contents by day."""
    numbers: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    with session(cluster_access(connection).zookeeper) as client:
        for store in _all_stores(client, connection):
            for folder in store.folders():
                key = str(store), f"{folder[:4]}-{folder[4:6]}-{folder[6:8]}"
                found = store.objects(folder)
                numbers[key] += len(found)
                sizes[key] += sum(one.size for one in found)
    print_list(
        ("store", "day", "payloads", "kB"),
        [(*key, numbers[key], sizes[key] // 1000) for key in sorted(numbers)],
        empty="there are no payloads in the store",
    )


@app.command(
    epilog=examples(
        "pero-worker payloads clean --dry-run",
        "pero-worker payloads clean",
        "pero-worker payloads clean --older-than 2",
    )
)
@cluster_command
def clean(
    connection: ConnectionOptions,
    older_than: Annotated[
        float | None, typer.Option(min=MIN_KEEP_DAYS, help="Age in days.", show_default="as payloads set --keep-days")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Remove old contents, as workers do every hour. A page that still needs them will fail."""
    with session(cluster_access(connection).zookeeper) as client:
        settings = read_settings(client)
        keep = settings.keep if older_than is None else timedelta(days=older_than)
        for store in _all_stores(client, connection):
            gone = sweep(store, keep, remove=not dry_run)
            what = f"{counted(gone.objects, 'payload')} ({gone.size // 1000} kB)"
            say(f"{store}: {what} {'would be removed' if dry_run else 'removed'}")


def _all_stores(client: KazooClient, connection: ConnectionOptions) -> Iterator[ObjectStore]:
    """Yields the stores; one that is away is reported, and its error is raised after the others."""
    urls = read_settings(client).stores.values()
    if not urls:
        raise UsageError("this cluster has no payload store: see pero-worker payloads set")
    away: list[TransientError] = []
    for url in urls:
        with _opened(url, connection) as store:
            try:
                store.check()
            except TransientError as error:
                warn(str(error))
                away.append(error)
                continue
            yield store
    if away:
        raise away[0]


@contextmanager
def _opened(url: str, connection: ConnectionOptions) -> Iterator[ObjectStore]:
    store = ObjectStore(url, cluster_access(connection).store)
    try:
        yield store
    finally:
        store.close()
