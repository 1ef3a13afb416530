"""`pero-worker jobs`: manages a gateway's jobs from the terminal, in the words of its API."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from pero_worker.cli.examples import examples
from pero_worker.cli.gateway_key import gateway_key
from pero_worker.cli.listing import print_list
from pero_worker.cli.say import say
from pero_worker.client.gateway import GatewayClient
from pero_worker.errors import UsageError
from pero_worker.names import counted

GATEWAY_VARIABLE = "PERO_WORKER_GATEWAY"
_PATIENCE_SECONDS = 10.0
_STATES = ("new", "queued", "processing", "error", "done", "failed", "cancelled")
_PAGE_STATES = ("created", "waiting", "processing", "done", "failed", "cancelled", "expired")

app = typer.Typer(help="Jobs of a gateway: list, show, cancel, retry.", no_args_is_help=True)
_Gateway = Annotated[
    str,
    typer.Option(
        "--gateway", envvar=GATEWAY_VARIABLE, help="The gateway's address.", metavar="URL", show_default=False
    ),
]
_KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="File with the key.", show_default="the variable PERO_WORKER_GATEWAY_KEY"),
]
_Job = Annotated[str, typer.Argument(help="The job's id, as `jobs list` shows it.", metavar="JOB")]


@app.command(
    "list",
    epilog=examples(
        "pero-worker jobs list --gateway https://ocr.example.org", "pero-worker jobs list --state failed --limit 10"
    ),
)
def list_(
    gateway: _Gateway = "",
    key_file: _KeyFile = None,
    state: Annotated[str, typer.Option(help=f"Only jobs that are {', '.join(_STATES)}.", show_default="all")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Newest jobs to list, at most.")] = 50,
) -> None:
    """List the key's jobs, newest first; an administrator's key lists all."""
    _check(state, _STATES)
    with _client(gateway, key_file) as client:
        found = list(islice(client.jobs(state or None), limit))
    print_list(
        ("job", "state", "pages", "open", "failed", "engine", "created", "name"),
        [
            (
                job["id"],
                job["state"],
                job["pages"],
                job["pages_open"],
                job["pages_failed"],
                job.get("engine_name"),
                job["created_date"][:19],
                job.get("name"),
            )
            for job in found
        ],
        empty=f"there is no job that is {state}" if state else "there is no job",
    )


@app.command(epilog=examples("pero-worker jobs show JOB", "pero-worker jobs show JOB --pages waiting"))
def show(
    job: _Job,
    gateway: _Gateway = "",
    key_file: _KeyFile = None,
    pages: Annotated[
        str, typer.Option(help=f"Pages to list: all, or those that are {', '.join(_PAGE_STATES)}.", metavar="STATE")
    ] = "failed",
) -> None:
    """Show a job, and its failed pages with their reasons."""
    _check("" if pages == "all" else pages, _PAGE_STATES)
    name = _id(job)
    with _client(gateway, key_file) as client:
        found = client.job(name)
        _describe(found)
        rows = [_row(page) for page in client.pages(name, None if pages == "all" else pages)]
    if rows or pages != "failed":
        say("")
        empty = "it has no page" if pages == "all" else f"no page is {pages}"
        print_list(("page", "state", "attempts", "quality", "stage", "reason"), rows, empty=empty)


@app.command(epilog=examples("pero-worker jobs cancel JOB"))
def cancel(job: _Job, gateway: _Gateway = "", key_file: _KeyFile = None) -> None:
    """Cancel a job; finished pages and their results are kept."""
    name = _id(job)
    with _client(gateway, key_file) as client:
        client.cancel(name)
        found = client.job(name)
    say(f"cancelled; {found['pages'] - found['pages_failed']} of {counted(found['pages'], 'page')} had not failed")


@app.command(epilog=examples("pero-worker jobs retry JOB", "pero-worker jobs retry JOB page_007.jpg page_009.jpg"))
def retry(
    job: _Job,
    pages: Annotated[
        list[str] | None,
        typer.Argument(help="Failed pages to try again.", metavar="[PAGE]...", show_default="all"),
    ] = None,
    gateway: _Gateway = "",
    key_file: _KeyFile = None,
) -> None:
    """Try failed pages again."""
    name = _id(job)
    with _client(gateway, key_file) as client:
        count = client.retry(name, pages or None)
    say(f"{counted(count, 'page')} tried again")


def _describe(job: Mapping[str, Any]) -> None:
    engine = " ".join(filter(None, (job.get("engine_name"), job.get("engine_version"))))
    labels = ", ".join(f"{name}={value}" for name, value in (job.get("labels") or {}).items())
    done = job["pages"] - job["pages_open"]
    for title, value in (
        ("job", job["id"]),
        ("name", job.get("name")),
        ("labels", labels),
        ("engine", engine),
        ("state", job["state"]),
        ("pages", f"{done} of {job['pages']} ended, {job['pages_failed']} of them failed"),
        ("created", job["created_date"]),
        ("deadline", job.get("deadline")),
        ("finished", job.get("finished_date")),
        ("said", job.get("log_user")),
    ):
        if value:
            say(f"{title:<9} {value}")


def _row(page: Mapping[str, Any]) -> tuple[object, ...]:
    error = page.get("error") or {}
    quality = page.get("quality")
    return (
        page["name"],
        page["state"],
        page["attempts"],
        None if quality is None else f"{quality:.2f}",
        page.get("stage"),
        ": ".join(filter(None, (error.get("class"), error.get("message")))),
    )


def _check(state: str, known: tuple[str, ...]) -> None:
    if state and state not in known:
        raise UsageError(f"no state is called {state!r}; choose from {', '.join(known)}")


def _id(job: str) -> str:
    try:
        return str(uuid.UUID(job))
    except ValueError:
        raise UsageError(f"{job!r} is not a job id: see pero-worker jobs list") from None


@contextmanager
def _client(gateway: str, key_file: Path | None) -> Iterator[GatewayClient]:
    if not gateway:
        raise UsageError(f"name a gateway with --gateway, or in the variable {GATEWAY_VARIABLE}")
    client = GatewayClient(gateway, gateway_key(key_file), patience=_PATIENCE_SECONDS)
    try:
        yield client
    finally:
        client.close()
