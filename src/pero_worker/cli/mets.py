"""`pero-worker mets` and `pero-worker ocrd-zip`: enters results into the METS that they came from, and packs
workspaces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import pero_worker
from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.say import say
from pero_worker.clock import SystemClock
from pero_worker.inputs.mets.pages import MetsOptions
from pero_worker.jobs.mets import MetsOutput, enter_results, zip_workspace
from pero_worker.names import counted

METS_EPILOG = examples(
    "pero-worker ocr mets.xml -o out && pero-worker mets out mets.xml",
    "pero-worker mets out mets.xml --alto-group FULLTEXT --url-prefix https://library.example.org/7/ --overwrite",
)
ZIP_EPILOG = examples("pero-worker ocrd-zip mets.xml codex-7.ocrd.zip --identifier urn:nbn:de:example-7")


def mets(
    results: Annotated[Path, typer.Argument(help="Output folder of pero-worker ocr.", metavar="RESULTS")],
    document: Annotated[Path, typer.Argument(help="The METS that was read.", metavar="METS")],
    group: Annotated[str, typer.Option(help="Group for PAGE XML; '': none.", metavar="USE")] = "OCR-D-OCR-PERO",
    alto_group: Annotated[
        str, typer.Option(help="Group for ALTO, such as FULLTEXT; '': none.", metavar="USE")
    ] = "OCR-D-OCR-PERO-ALTO",
    url_prefix: Annotated[str, typer.Option(help="Enter addresses that begin with this instead of paths.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace these groups.")] = False,
    mets_group: Annotated[str, typer.Option(help="As for the run.", metavar="USE")] = "",
    mets_root: Annotated[Path | None, typer.Option(help="As for the run.")] = None,
) -> None:
    """Enter a run's results into the METS that its pages came from; files are written next to it."""
    output = MetsOutput(
        group=group,
        alto_group=alto_group,
        url_prefix=url_prefix,
        overwrite=overwrite,
        pictures=MetsOptions(group=mets_group, root=mets_root),
    )
    number = enter_results(results, document, output, SystemClock(), f"pero-worker {pero_worker.__version__}")
    say(f"{counted(number, 'page')} entered into {document}")


def ocrd_zip(
    document: Annotated[Path, typer.Argument(help="The workspace's METS.", metavar="METS")],
    target: Annotated[Path, typer.Argument(help="The archive to create.", metavar="ZIP")],
    identifier: Annotated[
        str, typer.Option(help="Identifier of the work.", show_default="name of the METS' folder")
    ] = "",
) -> None:
    """Pack a METS and its files as an OCRD-ZIP."""
    number = zip_workspace(document, target, identifier or document.absolute().parent.name, SystemClock())
    say(f"{counted(number, 'file')} in {target}")


app = command_app("mets", mets, METS_EPILOG)
zip_app = command_app("ocrd-zip", ocrd_zip, ZIP_EPILOG)
