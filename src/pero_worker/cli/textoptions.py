"""Options shared by commands that write text and PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pero_worker.formats import TextLines, TextPolicy


def _folder(value: str) -> Path:
    if not value:
        raise typer.BadParameter("an empty path was given: is a variable not set?")
    return Path(value)


OutputOption = Annotated[
    Path, typer.Option("-o", "--output", parser=_folder, help="Folder for the results.", metavar="DIR")
]
TextOption = Annotated[
    TextPolicy,
    typer.Option(
        help="How a searchable PDF treats text that the PDF already has. redo: an invisible layer is replaced, print "
        "is kept. skip: pages with text stay as they are. force: pages with text become pictures."
    ),
]
LanguageOption = Annotated[
    str,
    typer.Option(
        help="Language of the text in PDF and TEI, in BCP 47: de, cs-CZ, la. Screen readers use it.",
        show_default="as before, otherwise none",
        metavar="CODE",
    ),
]
BlankTextOption = Annotated[
    str, typer.Option(help="Content of text files of pages without text, such as '[blank page]'; empty by default.")
]
TextLinesOption = Annotated[
    TextLines,
    typer.Option(
        help="Line ends in text files. keep: as on the page. join: one line per paragraph, hyphenated words joined."
    ),
]
CombineOption = Annotated[
    bool,
    typer.Option(
        "--combine",
        help="Also write one text for each document with several pages, and one text and PDF, named 'all', for each "
        "folder with several documents.",
    ),
]
