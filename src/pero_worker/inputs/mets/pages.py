"""Which picture of a METS is a page's, and where it lies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import Book, BookKind, BookPage, ImageService, Names, Picture, safe_name
from pero_worker.inputs.iiif.image import base_of
from pero_worker.inputs.mets.read import Mets, MetsFile, MetsPage
from pero_worker.inputs.web.addresses import shown
from pero_worker.names import counted

_BEST_GROUPS = ("ocr-d-img", "max", "original", "master/img", "local", "default", "image", "img")
_POOR_GROUPS = frozenset({"thumbs", "min", "download", "presentation", "teaser", "thumbnail"})
_PICTURES = re.compile(r".*\.(jpe?g|jpe|png|tiff?|jp2|j2k|jpx|j2c|webp|bmp|gif|p[pgb]m)", re.IGNORECASE)
_OTHERS = re.compile(r".*\.(xml|txt|pdf|html?|json|hocr|epub|mp[34]|wav|ogg|zip|docx?|rtf|csv|md)", re.IGNORECASE)
_XML = frozenset({"", "text/xml", "application/xml"})
_SERVICE = "application/vnd.kitodo.iiif"
_UNREADABLE = {
    "application/vnd.netfpx": "a picture of an IIP server",
    "application/vnd.kitodo.zoomify": "a picture in Zoomify's tiles",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetsOptions:
    """What the user wants of a METS."""

    group: str = ""
    """Of its pictures; '': the best of those that are there."""
    layout_group: str = ""
    """Of the PAGE or ALTO that tells where lines are; '': what was entered last."""
    root: Path | None = None
    """Below which paths may lead, None: the folder of the METS."""


def book_of(mets: Mets, *, source: str, home: Path | None, options: MetsOptions) -> Book:
    """The pages with their pictures. `home`: the folder of the METS, None when it came from the address `source`.

    NoInputError: there are no pages, or no group of the name asked for.
    """
    groups = list(dict.fromkeys(file.group for file in mets.files))
    for option, group in (("--mets-group", options.group), ("--mets-layout", options.layout_group)):
        if group and group not in groups:
            raise NoInputError(
                f"{option} {group}: {source} has no such group; its groups are "
                f"{', '.join(one or '(without a name)' for one in groups[:30]) or 'none'}"
            )
    files: dict[str, MetsFile] = {}
    for file in mets.files:
        files.setdefault(file.id, file)
    pages = [(page, [files[name] for name in page.files if name in files]) for page in mets.pages]
    if not pages:
        pages = [(MetsPage(id="", label="", files=(file.id,)), [file]) for file in _without_map(mets, options)]
    if mets.others and not any(own for _, own in pages):
        named = ", ".join(shown(urljoin(source, other) if home is None else other) for other in mets.others[:3])
        others = counted(len(mets.others), "other")
        raise NoInputError(f"{source} is a METS that points to {others}: name those, as {named}")
    if not pages:
        raise NoInputError(f"{source} is a METS without pages and without pictures")
    names = Names()
    used: dict[str, str] = {}
    warnings = list(mets.warnings)
    made = []
    for number, (page, own) in enumerate(pages, 1):
        made.append(_page(page, own, number, names, used, source, home, options))
        if made[-1].note:
            warnings.append(f"page {number}: {made[-1].note}")
    if not any(page.picture or page.files for page in made):
        raise NoInputError(f"{source} is a METS whose pages have no files: there is nothing to read")
    label = mets.label
    stem = PurePosixPath(urlsplit(source).path if home is None else source).stem
    name = safe_name(label) or safe_name(stem) or "mets"
    return Book(kind=BookKind.METS, source=source, name=name, label=label, pages=tuple(made), warnings=tuple(warnings))


def _without_map(mets: Mets, options: MetsOptions) -> list[MetsFile]:
    pictures = [file for file in mets.files if _is_picture(file)]
    if not pictures:
        return []
    group = options.group or min(pictures, key=lambda file: _rank(file.group)).group
    return [file for file in pictures if file.group == group]


def _page(
    page: MetsPage,
    files: Sequence[MetsFile],
    number: int,
    names: Names,
    used: dict[str, str],
    source: str,
    home: Path | None,
    options: MetsOptions,
) -> BookPage:
    chosen, note = _chosen(files, options)
    base = PurePosixPath(unquote(urlsplit(chosen.places[0]).path)).stem if chosen and chosen.places else ""
    name = names.take(safe_name(page.id) or safe_name(base) or f"{number:04d}")
    picture, problem, skipped = None, "", False
    if chosen is None:
        problem, skipped = _why_none(page, files, options), True
    elif not chosen.places:
        problem = f"the METS does not say where the file {chosen.id!r} lies"
    else:
        picture, problem = _located(chosen, source, home, options.root or home)
        key = str(picture.file or picture.key) if picture else ""
        if picture and used.setdefault(key, name) != name:
            picture, problem, skipped = None, f"its picture is that of page {used[key]}, which is read", True
    layout, layout_url = _layout(files, source, home, options)
    return BookPage(
        name=name,
        id=page.id,
        label=page.label,
        number=number,
        picture=picture,
        problem=problem,
        skipped=skipped,
        note=note,
        files=page.files,
        layout=layout,
        layout_url=layout_url,
    )


def _layout(files: Sequence[MetsFile], source: str, home: Path | None, options: MetsOptions) -> tuple[Path | None, str]:
    """File or address. PAGE before ALTO, which says less, and of each the last: every step enters what it made behind
    the others."""
    wanted = [file for file in reversed(files) if not options.layout_group or file.group == options.layout_group]
    for is_kind in (_is_page, _is_alto):
        for file in filter(is_kind, wanted):
            picture, _ = _located(file, source, home, options.root or home)
            if picture is not None:
                return picture.file, picture.url
    return None, ""


def _is_page(file: MetsFile) -> bool:
    return "prima.page" in file.mime or (file.mime in _XML and "PAGE" in file.group.upper())


def _is_alto(file: MetsFile) -> bool:
    return "alto" in file.mime or (file.mime in _XML and re.search("ALTO|FULLTEXT|OCR", file.group.upper()) is not None)


def _chosen(files: Sequence[MetsFile], options: MetsOptions) -> tuple[MetsFile | None, str]:
    fitting = [file for file in files if _is_picture(file) and (not options.group or file.group == options.group)]
    if not options.group:
        fitting = [file for file in fitting if file.group.rpartition("/")[2].lower() not in _POOR_GROUPS]
    if not fitting:
        return None, ""
    best = min(fitting, key=lambda file: _rank(file.group))
    several = sum(file.group == best.group for file in fitting)
    return best, f"{several} pictures are in the group {best.group}; the first was taken" if several > 1 else ""


def _why_none(page: MetsPage, files: Sequence[MetsFile], options: MetsOptions) -> str:
    if options.group:
        return f"the page has no picture in the group {options.group}"
    for file in files:
        if file.mime in _UNREADABLE:
            return f"the page has only {_UNREADABLE[file.mime]}, which is not read"
    if page.files and not files:
        return f"the page's files are not listed in the METS: {', '.join(page.files[:5])}"
    return "the page has no picture"


def _rank(group: str) -> int:
    """Lower is better."""
    name = group.lower()
    if name in _BEST_GROUPS:
        return _BEST_GROUPS.index(name)
    last = name.rpartition("/")[2]
    return len(_BEST_GROUPS) + (last in _POOR_GROUPS)


def _is_picture(file: MetsFile) -> bool:
    """By its type, else by its name; what has neither may be one."""
    if file.mime:
        if file.mime.startswith("image/") or file.mime == _SERVICE:
            return True
        if file.mime not in {"application/octet-stream", "binary/octet-stream"}:
            return False
    names = [unquote(urlsplit(place).path) for place in file.places]
    return any(map(_PICTURES.fullmatch, names)) or not any(map(_OTHERS.fullmatch, names))


def _located(file: MetsFile, source: str, home: Path | None, root: Path | None) -> tuple[Picture | None, str]:
    """The picture, or why it cannot be read: a file of this machine goes before an address."""
    problem = ""
    for place in _local_first(file):
        scheme = _scheme(place)
        if scheme in {"http", "https"} or (home is None and not scheme):
            address = urljoin(source, place)
            if file.mime == _SERVICE or address.endswith("/info.json"):
                return Picture(service=ImageService(id=base_of(address)), written=place), ""
            return Picture(url=address, written=place), ""
        if home is None or root is None or scheme not in {"", "file"}:
            problem = problem or f"{shown(place)[:200]!r} leads to a place that is not followed from there"
            continue
        found, why = _file(place, home, root)
        if found is not None:
            return Picture(file=found, written=place), ""
        problem = problem or why
    return None, problem


def _local_first(file: MetsFile) -> Iterator[str]:
    return iter(sorted(file.places, key=lambda place: _scheme(place) in {"http", "https"}))


def _scheme(place: str) -> str:
    """'' for a path; a drive's letter is no scheme."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", place)
    return found[1].lower() if found else ""


def _file(place: str, home: Path, root: Path) -> tuple[Path | None, str]:
    """The path as it is written, then with its percent signs decoded; only below `root`."""
    written = re.sub(r"^file:(//(localhost)?(?=/))?", "", place, flags=re.IGNORECASE)
    outside, allowed = False, root.resolve()
    for path in dict.fromkeys((written, unquote(written))):
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
