"""`pero-worker dead`: handles messages that no worker could use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cli.listing import print_list
from pero_worker.cli.say import say, say_lines
from pero_worker.cluster.opening import Cluster, open_cluster
from pero_worker.cluster.pages.dead import DeadLetter, dead_letters, read_letter, settle
from pero_worker.cluster.pages.route import check_output
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.errors import UsageError
from pero_worker.text import one_line
from pero_worker.wire.queues import DEAD_LETTERS

app = typer.Typer(
    help="Messages that no worker could use, in the queue pero.dead, and pages that failed.", no_args_is_help=True
)
Numbers = Annotated[list[int] | None, typer.Argument(help="As numbered by `dead list`.", metavar="NUMBER...")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Limit = Annotated[int, typer.Option(min=1, help="Look at this many messages, the oldest.")]
Queue = Annotated[str, typer.Option("--queue", help="An output queue: the pages in it that failed.", metavar="NAME")]


@app.command("list", epilog=examples("pero-worker dead list", "pero-worker dead list --queue out"))
@cluster_command
def list_(connection: ConnectionOptions, limit: Limit = 1000, queue: Queue = DEAD_LETTERS) -> None:
    """List them: number, queue they came from, size, id, reason."""
    with _opened(connection, queue) as cluster:
        letters = dead_letters(cluster.broker, limit, queue)
    print_list(
        ("number", "queue", "bytes", "page", "reason"),
        [
            (
                letter.number,
                letter.origin,
                letter.size,
                (letter.request.source or letter.request.uuid) if letter.request else "",
                letter.reason.partition("\n")[0],
            )
            for letter in letters
        ],
        empty=f"no such messages are in {queue}",
    )


@app.command(epilog=examples("pero-worker dead show 1", "pero-worker dead show 1 --raw > message"))
@cluster_command
def show(
    connection: ConnectionOptions,
    number: Annotated[int, typer.Argument(metavar="NUMBER")],
    raw: Annotated[bool, typer.Option("--raw", help="The message itself, to stdout.")] = False,
    limit: Limit = 1000,
    queue: Queue = DEAD_LETTERS,
) -> None:
    """Print everything that is known about one."""
    with _opened(connection, queue) as cluster:
        letter, body = read_letter(cluster.broker, number, max(limit, number), queue)
    if raw:
        sys.stdout.buffer.write(body)
        return
    say_lines(f"reason   {one_line(letter.reason)}\nqueue    {one_line(letter.origin)}\nbytes    {letter.size}")
    if letter.request is None:
        say(f"content  no request; it begins with {letter.begins!r}")
        return
    say_lines(f"request  {one_line(letter.request.uuid)}\nsource   {one_line(letter.request.source or '-')}")
    say(f"stages   {' '.join(map(one_line, letter.request.stages))}")
    for name, size in letter.results:
        say(f"result   {one_line(name)} ({size} bytes)")
    for log in letter.request.logs:
        said = log.log.replace("\n", "\n         ")
        say_lines(f"log      {one_line(log.stage)} {one_line(str(log.status))} by {one_line(log.host_id)}: {said}")


@app.command(
    epilog=examples(
        "pero-worker dead replay 1 3", "pero-worker dead replay --all", "pero-worker dead replay --all --queue out"
    )
)
@cluster_command
def replay(
    connection: ConnectionOptions,
    numbers: Numbers = None,
    everything: All = False,
    limit: Limit = 1000,
    queue: Queue = DEAD_LETTERS,
) -> None:
    """Send them back to the queue they came from; failed pages go to the stage they failed in."""
    _settle(connection, numbers, everything, limit, queue, again=True)


@app.command(epilog=examples("pero-worker dead drop 2", "pero-worker dead drop --all"))
@cluster_command
def drop(
    connection: ConnectionOptions,
    numbers: Numbers = None,
    everything: All = False,
    limit: Limit = 1000,
    queue: Queue = DEAD_LETTERS,
) -> None:
    """Delete them for good."""
    _settle(connection, numbers, everything, limit, queue, again=False)


def _settle(
    connection: ConnectionOptions, numbers: list[int] | None, everything: bool, limit: int, queue: str, *, again: bool
) -> None:
    if not numbers and not everything:
        raise UsageError("say which: numbers as pero-worker dead list counts them, or --all")
    wanted = set(numbers or ())

    def chosen(letter: DeadLetter) -> bool:
        return everything or letter.number in wanted

    with _opened(connection, queue) as cluster:
        done = settle(
            cluster.broker,
            chosen,
            again,
            max(limit, *wanted) if wanted else limit,
            queue,
            payloads=cluster.payloads,
        )
    if missing := wanted - done:
        raise UsageError(f"there is no message {', '.join(map(str, sorted(missing)))}")
    say(f"{len(done)} {'sent back' if again else 'dropped'}")


@contextmanager
def _opened(connection: ConnectionOptions, queue: str) -> Iterator[Cluster]:
    with open_cluster(cluster_access(connection)) as cluster:
        if queue != DEAD_LETTERS:
            check_output(cluster, queue)
        yield cluster
