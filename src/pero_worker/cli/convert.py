"""`pero-worker convert`: writes existing results in more formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pero_worker.cli.late import command_app
from pero_worker.cli.say import say
from pero_worker.cli.textoptions import BlankTextOption, CombineOption, LanguageOption, TextLinesOption, TextOption
from pero_worker.errors import ExitCode
from pero_worker.formats import TextLines, TextPolicy, formats_help, parse_formats, parse_language
from pero_worker.names import counted
from pero_worker.text import one_line

if TYPE_CHECKING:
    from pero_worker.jobs.listener import Summary

EPILOG = """
[bold]Examples[/bold]

  pero-worker convert out/ --formats hocr,pdf

  pero-worker convert out/ --formats text --text-lines join --combine

Pages are not read again: all formats are made from their PAGE XML. Files that are not results of a run are never
overwritten. Run the same command again and it resumes where it stopped.

[bold]Exit status[/bold]  0 all done; 2 wrong usage; 3 some files could not be made; 4 no results; 7 cannot write;
130 interrupted.
"""


def convert_command(
    folder: Annotated[Path, typer.Argument(help="Results of `pero-worker ocr` or `download`.", metavar="OUT")],
    formats: Annotated[str, typer.Option("-f", "--formats", help=f"Comma-separated: {formats_help()}.")],
    text_lines: TextLinesOption = TextLines.KEEP,
    combine: CombineOption = False,
    text: TextOption = TextPolicy.REDO,
    language: LanguageOption = "",
    blank_text: BlankTextOption = "",
    dpi: Annotated[
        int, typer.Option(min=36, max=2400, help="For PDFs: resolution of images that do not state theirs.")
    ] = 300,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Write existing results in more formats, in seconds."""
    from pero_worker.cli.progress import Progress
    from pero_worker.clock import SystemClock
    from pero_worker.jobs.combine import check
    from pero_worker.jobs.convert import convert
    from pero_worker.jobs.options import RunOptions
    from pero_worker.processes import Lifetime, OnSignal

    wanted = parse_formats(formats)
    if combine:
        check(wanted)
    options = RunOptions(
        formats=wanted,
        dpi=dpi,
        text=text,
        language=parse_language(language),
        blank_text=blank_text,
        text_lines=text_lines,
        combine=combine,
    )
    Lifetime(status=ExitCode.INTERRUPTED, on_signal=OnSignal.INTERRUPT).begin()
    with Progress(visible=not quiet and sys.stderr.isatty()) as progress:
        summary = convert(folder, options, progress, SystemClock())
    if not quiet:
        _print(summary, folder)
    if summary.failed or summary.documents_failed:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)


def _print(summary: Summary, folder: Path) -> None:
    before = f", {summary.finished_before} had everything" if summary.finished_before else ""
    say(f"{counted(summary.done, 'page')} converted in {summary.seconds:.1f} s{before}, {summary.failed} failed")
    for record in summary.failures:
        say(one_line(f"  failed: {record.page}: {record.error}"))
    if summary.failed > len(summary.failures):
        say(f"  and {summary.failed - len(summary.failures)} more")
    for name, wanted, reason in summary.documents_failed:
        say(one_line(f"  no {wanted}: {name}: {reason}"))
    say(f"results in {folder}")


app = command_app("convert", convert_command, EPILOG)
