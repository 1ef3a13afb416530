"""Pages with their texts: images with PAGE XML or ALTO, as eScriptorium, Transkribus and pero-ocr export them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pero_worker.errors import NoInputError, PageError
from pero_worker.formats import alto_read, pagexml_read
from pero_worker.page import Page

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".webp", ".bmp")
_MAX_BYTES = pagexml_read.MAX_BYTES
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?(PcGts|alto)[\s>]")
_HEAD = 4096
"""Bytes at the start of a file that are searched for the root element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePage:
    """An image, and the page that was transcribed from it."""

    image: Path
    """The image file."""
    truth: Path
    """The file with the text."""
    page: Page
    """The page with its lines, including those without text."""


def find_pages(paths: Sequence[Path], tell: Callable[[str], None]) -> list[TruePage]:
    """Returns the pages with lines of text in files and folders (searched recursively), each image once; PAGE XML is
    preferred to ALTO.

    What cannot be used is reported and left out. Raises `NoInputError` if nothing can be used.
    """
    files = sorted(dict.fromkeys(file for path in paths for file in _files(path)))
    images = _Images(files)
    found: dict[Path, TruePage] = {}
    read = 0
    for kind, reader in (("PcGts", pagexml_read.read), ("alto", alto_read.read)):
        for file in files:
            if file.suffix.lower() != ".xml" or _root(file) != kind:
                continue
            read += 1
            try:
                page = reader(file.read_bytes())
            except (PageError, OSError) as error:
                tell(f"{file}: {error}: left out")
                continue
            image = images.of(file, page.name)
            if image is None:
                tell(f"{file}: there is no image {page.name or file.stem} near it: left out")
            elif image not in found and any(plain(line.text or "") for line in page.lines()):
                found[image] = TruePage(image=image, truth=file, page=page)
    if not found:
        said = "none of them has an image and lines of text" if read else "no PAGE XML or ALTO is there"
        raise NoInputError(f"no pages to learn from: {said}; name folders of images with their PAGE XML or ALTO")
    return [found[image] for image in sorted(found)]


def plain(text: str) -> str:
    """Returns a line's text as it is learnt: composed, with single spaces and no invisible characters."""
    text = "".join(" " if char.isspace() else char for char in unicodedata.normalize("NFC", text))
    return " ".join("".join(char for char in text if unicodedata.category(char)[0] != "C").split())


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for inner in path.rglob("*"):
            hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
            if not hidden and inner.is_file():
                yield inner
    elif path.is_file():
        yield path
        if path.suffix.lower() == ".xml":
            for near in (path.parent, path.parent.parent):
                yield from (other for other in near.iterdir() if other.suffix.lower() in IMAGE_SUFFIXES)
    else:
        raise NoInputError(f"there is no {path}: name files or folders that exist")


def _root(file: Path) -> str:
    """Returns PcGts, alto, or '' for anything else in an export, such as METS or metadata."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            return ""
        with file.open("rb") as stream:
            found = _ROOT.search(stream.read(_HEAD))
    except OSError:
        return ""
    return found[1].decode() if found else ""


class _Images:
    """Finds images by name."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for file in files:
            if file.suffix.lower() in IMAGE_SUFFIXES:
                for name in {file.name.lower(), file.stem.lower()}:
                    self._by_name.setdefault(name, []).append(file)

    def of(self, truth: Path, name: str) -> Path | None:
        """Returns the image named in the page, or else with the same name as its file; if there are several, the
        nearest one."""
        stem = truth.name.removesuffix(truth.suffix).removesuffix(".page").removesuffix(".alto")
        for wanted in (name, Path(name).stem, stem):
            near = sorted(self._by_name.get(wanted.lower(), ()), key=lambda file: _apart(file, truth)) if wanted else []
            if near:
                return near[0]
        return None


def _apart(file: Path, other: Path) -> tuple[int, str]:
    common = 0
    for a, b in zip(file.parent.parts, other.parent.parts, strict=False):
        if a != b:
            break
        common += 1
    return len(file.parts) + len(other.parts) - 2 * common, str(file)
