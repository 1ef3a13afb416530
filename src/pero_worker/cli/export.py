"""`pero-worker export`: writes results for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import pero_worker
from pero_worker.cli.examples import examples
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.errors import NoInputError
from pero_worker.inputs.books import Book
from pero_worker.inputs.mets.pages import MetsOptions
from pero_worker.inputs.opening import BookOptions
from pero_worker.inputs.web.addresses import AddressRules, without_login
from pero_worker.inputs.web.fetch import FetchOptions
from pero_worker.jobs.books import BookSettings, named_hosts, opened_books
from pero_worker.jobs.export import write_iiif, zip_for_escriptorium
from pero_worker.names import counted

app = typer.Typer(name="export", help="Results for other programs: IIIF viewers, eScriptorium.", no_args_is_help=True)
Results = Annotated[Path, typer.Argument(help="Output folder of pero-worker ocr.", metavar="RESULTS")]


@app.command(
    epilog=examples(
        "pero-worker export iiif out https://library.example.org/7/manifest.json --base-url https://texts.example.org/7",
        "pero-worker export iiif out mets.xml --base-url https://texts.example.org/7",
    )
)
def iiif(
    results: Results,
    source: Annotated[str, typer.Argument(help="The manifest or METS that was read.", metavar="MANIFEST|METS")],
    base_url: Annotated[str, typer.Option(help="Address where RESULTS will be published.")],
    picture_url: Annotated[
        str,
        typer.Option(help="Address where this machine's pictures will be published.", show_default="BASE_URL/pictures"),
    ] = "",
    mets_group: Annotated[str, typer.Option(help="As for the run.", metavar="USE")] = "",
    mets_root: Annotated[Path | None, typer.Option(help="As for the run.")] = None,
) -> None:
    """Write a manifest with text for Mirador and others, and one for eScriptorium, into RESULTS/iiif."""
    settings = BookSettings(
        reading=BookOptions(mets=MetsOptions(group=mets_group, root=mets_root)),
        fetching=FetchOptions(rules=AddressRules(named=named_hosts([source]))),
    )
    with opened_books(settings, SystemClock()) as books:
        found = books.open(source, True) if books.open is not None else None
    if not found or not isinstance(found[0], Book):
        raise NoInputError(f"{without_login(source)} is neither a IIIF manifest nor a METS")
    number = write_iiif(results, found[0], base_url, picture_url or f"{base_url.rstrip('/')}/pictures")
    say(f"{counted(number, 'page')} in {results / 'iiif/manifest.json'}")


@app.command(epilog=examples("pero-worker export escriptorium out codex-7.zip"))
def escriptorium(
    results: Results, target: Annotated[Path, typer.Argument(help="The archive to create.", metavar="ZIP")]
) -> None:
    """Pack PAGE XML as eScriptorium imports it: one file per picture, named after it."""
    number = zip_for_escriptorium(results, target, SystemClock(), f"pero-worker {pero_worker.__version__}")
    say(f"{counted(number, 'page')} in {target}")
