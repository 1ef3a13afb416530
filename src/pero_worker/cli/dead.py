"""`pero-worker dead`: messages that no worker could use."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pero_worker.cli.access import cluster_command
from pero_worker.cli.examples import examples
from pero_worker.cluster.access import open_cluster
from pero_worker.cluster.pages.dead import DeadLetter, dead_letters, settle
from pero_worker.cluster.settings import ConnectionOptions, cluster_access
from pero_worker.errors import UsageError

app = typer.Typer(help="Messages that no worker could use, in the queue pero.dead.", no_args_is_help=True)
Numbers = Annotated[list[int] | None, typer.Argument(help="As `dead list` counts them.", metavar="NUMBER...")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
Limit = Annotated[int, typer.Option(min=1, help="Look at this many, the oldest.")]


@app.command("list", epilog=examples("pero-worker dead list"))
@cluster_command
def list_(connection: ConnectionOptions, limit: Limit = 1000) -> None:
    """List them: number, queue they came from, size, id, reason."""
    with open_cluster(cluster_access(connection)) as cluster:
        for letter in dead_letters(cluster.broker, limit):
            name = letter.request.source or letter.request.uuid if letter.request else "-"
            typer.echo(f"{letter.number:>5} {letter.origin:20} {len(letter.body):>9} {name:34} {letter.reason}")


@app.command(epilog=examples("pero-worker dead show 1", "pero-worker dead show 1 --raw > message"))
@cluster_command
def show(
    connection: ConnectionOptions,
    number: Annotated[int, typer.Argument(metavar="NUMBER")],
    raw: Annotated[bool, typer.Option("--raw", help="The message itself, to stdout.")] = False,
) -> None:
    """Print all that is known of one."""
    with open_cluster(cluster_access(connection)) as cluster:
        letters = dead_letters(cluster.broker, number)
    if len(letters) < number or number < 1:
        raise UsageError(f"there is no letter {number}: see pero-worker dead list")
    letter = letters[number - 1]
    if raw:
        sys.stdout.buffer.write(letter.body)
        return
    typer.echo(f"reason   {letter.reason}\nqueue    {letter.origin}\nbytes    {len(letter.body)}")
    if letter.request is None:
        typer.echo(f"content  no request; it begins with {letter.body[:40]!r}")
        return
    typer.echo(f"request  {letter.request.uuid}\nsource   {letter.request.source or '-'}")
    typer.echo(f"stages   {' '.join(letter.request.stages)}")
    for payload in letter.request.results:
        typer.echo(f"result   {payload.name} ({len(payload.content)} bytes)")
    for log in letter.request.logs:
        typer.echo(f"log      {log.stage} {log.status} by {log.host_id}: {log.log}")


@app.command(epilog=examples("pero-worker dead replay 1 3", "pero-worker dead replay --all"))
@cluster_command
def replay(
    connection: ConnectionOptions, numbers: Numbers = None, everything: All = False, limit: Limit = 1000
) -> None:
    """Send them back to the queue they came from, when the reason is gone."""
    _settle(connection, numbers, everything, limit, again=True)


@app.command(epilog=examples("pero-worker dead drop 2", "pero-worker dead drop --all"))
@cluster_command
def drop(connection: ConnectionOptions, numbers: Numbers = None, everything: All = False, limit: Limit = 1000) -> None:
    """Delete them for good."""
    _settle(connection, numbers, everything, limit, again=False)


def _settle(
    connection: ConnectionOptions, numbers: list[int] | None, everything: bool, limit: int, *, again: bool
) -> None:
    if not numbers and not everything:
        raise UsageError("say which: numbers as pero-worker dead list counts them, or --all")
    wanted = set(numbers or ())

    def chosen(letter: DeadLetter) -> bool:
        return everything or letter.number in wanted

    with open_cluster(cluster_access(connection)) as cluster:
        done = settle(cluster.broker, chosen, again, max(limit, *wanted) if wanted else limit)
    if missing := wanted - {letter.number for letter in done}:
        raise UsageError(f"there is no letter {', '.join(map(str, sorted(missing)))}")
    typer.echo(f"{len(done)} {'sent back' if again else 'dropped'}")
