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
        help="Text that a PDF has already, in its searchable PDF. redo: an invisible layer is replaced, print is "
        "kept. skip: pages with text stay as they are. force: pages with text become pictures."
    ),
]
LanguageOption = Annotated[
    str,
    typer.Option(
        help="Of the text, for PDF and TEI, as BCP 47 writes it: de, cs-CZ, la. Then a PDF is read aloud in it.",
        show_default="as before, else not told",
        metavar="CODE",
    ),
]
BlankTextOption = Annotated[
    str, typer.Option(help="What text files of pages without text hold, as '[blank page]'; they are empty else.")
]
TextLinesOption = Annotated[
    TextLines,
    typer.Option(
        help="Line ends in text files. keep: as on the page. join: a paragraph is a line, parted words are whole."
    ),
]
CombineOption = Annotated[
    bool,
    typer.Option(
        "--combine",
        help="Also one text of each document of several pages, and one text and PDF, called 'all', of each folder of "
        "several documents.",
    ),
]
