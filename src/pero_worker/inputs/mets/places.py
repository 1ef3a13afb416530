"""Where a file of a METS is: on this machine, below a folder that is allowed, or at an address."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin

from pero_worker.inputs.books import ImageService, Picture
from pero_worker.inputs.iiif.image import base_of
from pero_worker.inputs.mets.read import MetsFile
from pero_worker.inputs.web.addresses import shown

SERVICE = "application/vnd.kitodo.iiif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What paths and addresses in a METS start from."""

    base: str
    """Where the METS came from, if it was not a file."""
    home: Path | None
    """The folder of the METS; None if it came from an address."""
    root: Path | None
    """Folder that paths must not lead out of."""


def located(file: MetsFile, around: Surroundings) -> tuple[Picture | None, str]:
    """Returns the picture, or why it cannot be read; a local file is preferred to an address."""
    problem = ""
    for place in sorted(file.places, key=lambda place: _scheme(place) in {"http", "https"}):
        scheme = _scheme(place)
        if scheme in {"http", "https"} or (around.home is None and not scheme):
            address = urljoin(around.base, place)
            if file.mime == SERVICE or address.endswith("/info.json"):
                return Picture(service=ImageService(id=base_of(address)), written=place), ""
            return Picture(url=address, written=place), ""
        if around.home is None or around.root is None or scheme not in {"", "file"}:
            problem = problem or f"{shown(place)[:200]!r} leads to a place that is not followed from there"
            continue
        found, why = _file(place, around.home, around.root)
        if found is not None:
            return Picture(file=found, written=place), ""
        problem = problem or why
    return None, problem


def _scheme(place: str) -> str:
    """Returns the scheme; '' for a path. A drive letter is not a scheme."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", place)
    return found[1].lower() if found else ""


def _file(place: str, home: Path, root: Path) -> tuple[Path | None, str]:
    """Finds a local file, only below `root`; otherwise says why it cannot be read."""
    written = re.sub(r"^file:(//(localhost)?(?=/))?", "", place, flags=re.IGNORECASE)
    outside, allowed = False, root.resolve()
    for path in dict.fromkeys(_readings(written)):
        if "\0" in path:
            continue
        try:
            found = (home / path).resolve()
            if not found.is_relative_to(allowed):
                outside = True
            elif found.is_file():
                return found, ""
        except OSError:
            continue
    if outside:
        return None, f"{place[:200]!r} lies outside {root}: --mets-root names a folder below which paths may lead"
    return None, f"the file {place[:200]!r} is not there"


def _readings(written: str) -> Iterator[str]:
    """Yields what may be meant by a path.

    It may be meant as written, percent-decoded, as Windows writes it, with accents composed or decomposed, and relative
    to the folder of the METS although it begins with a slash.
    """
    for path in (written, unquote(written)):
        yield path
        slashed = path.replace("\\", "/")
        yield slashed
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, slashed)
        if slashed.startswith("/"):
            yield slashed.lstrip("/")
