"""Which picture of a METS belongs to a page, and where it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import Book, BookKind, BookPage, Names, Picture, safe_name
from pero_worker.inputs.mets.places import SERVICE, Surroundings, located
from pero_worker.inputs.mets.read import Mets, MetsFile, MetsPage
from pero_worker.inputs.web.addresses import shown
from pero_worker.names import counted

_BEST_GROUPS = ("ocr-d-img", "max", "original", "master/img", "local", "default", "image", "img")
_POOR_GROUPS = frozenset({"thumbs", "min", "download", "presentation", "teaser", "thumbnail"})
_PICTURES = re.compile(r".*\.(jpe?g|jpe|png|tiff?|jp2|j2k|jpx|j2c|webp|bmp|gif|p[pgb]m)", re.IGNORECASE)
_OTHERS = re.compile(r".*\.(xml|txt|pdf|html?|json|hocr|epub|mp[34]|wav|ogg|zip|docx?|rtf|csv|md)", re.IGNORECASE)
_XML = frozenset({"", "text/xml", "application/xml"})
_UNREADABLE = {
    "application/vnd.netfpx": "a picture of an IIP server",
    "application/vnd.kitodo.zoomify": "a picture in Zoomify's tiles",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetsOptions:
    """How the user wants a METS to be read."""

    group: str = ""
    """Group to take pictures from; '' for the best one there is."""
    layout_group: str = ""
    """Group of the PAGE or ALTO that says where lines are; '' for whichever was entered last."""
    root: Path | None = None
    """Folder that paths must not lead out of; None for the folder of the METS."""


def book_of(mets: Mets, *, source: str, home: Path | None, options: MetsOptions, base: str = "") -> Book:
    """Makes a book of the pages and their pictures.

    `home` is the folder of the METS; None if it came from the address `source`, and finally from `base`. Raises
    `NoInputError` if there are no pages, or no group of the name asked for.
    """
    around = Surroundings(base=base or source, home=home, root=options.root or home)
    groups = list(dict.fromkeys(name for file in mets.files for name in (file.group, file.section) if name))
    for option, group in (("--mets-group", options.group), ("--mets-layout", options.layout_group)):
        if group and group not in groups:
            raise NoInputError(
                f"{option} {group}: {source} has no such group; its groups are {', '.join(groups[:30]) or 'none'}"
            )
    files: dict[str, MetsFile] = {}
    for file in mets.files:
        files.setdefault(file.id, file)
    pages = [(page, [files[name] for name in page.files if name in files]) for page in mets.pages]
    if not pages:
        pages = [(MetsPage(id="", label="", files=(file.id,)), [file]) for file in _without_map(mets, options)]
    if mets.others and not any(own for _, own in pages):
        named = ", ".join(shown(urljoin(base or source, other) if home is None else other) for other in mets.others[:3])
        others = counted(len(mets.others), "other")
        raise NoInputError(f"{source} is a METS that points to {others}: name those, as {named}")
    if not pages:
        raise NoInputError(f"{source} is a METS without pages and without pictures")
    names = Names()
    used: dict[str, str] = {}
    warnings = list(mets.warnings)
    made = []
    for number, (page, own) in enumerate(pages, 1):
        made.append(_page(page, own, number, names, used, around, options))
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
    around: Surroundings,
    options: MetsOptions,
) -> BookPage:
    fitting = _fitting(files, options)
    first = fitting[0].places[0] if fitting and fitting[0].places else ""
    base = PurePosixPath(unquote(urlsplit(first).path).replace("\\", "/")).stem
    name = names.take(safe_name(page.id) or safe_name(base) or f"{number:04d}")
    picture, problem, note, skipped = None, "", "", False
    if not fitting:
        problem, skipped = _why_none(page, files, options), True
    else:
        picture, problem, note = _best(fitting, around)
        key = str(picture.file or picture.key) if picture else ""
        if picture and used.setdefault(key, name) != name:
            picture, problem, skipped = None, f"its picture is that of page {used[key]}, which is read", True
    layout, layout_url = _layout(files, around, options)
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


def _best(fitting: Sequence[MetsFile], around: Surroundings) -> tuple[Picture | None, str, str]:
    """Returns the first picture that can be read, why there is none, and a note on the choice."""
    problem = ""
    for file in fitting:
        picture, why = located(file, around)
        if picture is not None:
            if problem:
                return picture, "", f"{problem}; the picture of the group {file.group} was taken"
            several = sum(other.group == file.group and other.section == file.section for other in fitting)
            note = f"{several} pictures are in the group {file.group}; the first was taken" if several > 1 else ""
            return picture, "", note
        problem = problem or why or f"the METS does not say where the file {file.id!r} lies"
    return None, problem, ""


def _layout(files: Sequence[MetsFile], around: Surroundings, options: MetsOptions) -> tuple[Path | None, str]:
    """Returns the file or address of the page's lines.

    PAGE comes before ALTO, which says less, and the last of each is taken: every step adds its result after the others.
    """
    wanted = [file for file in reversed(files) if not options.layout_group or _is_in(file, options.layout_group)]
    for is_kind in (_is_page, _is_alto):
        for file in filter(is_kind, wanted):
            picture, _ = located(file, around)
            if picture is not None:
                return picture.file, picture.url
    return None, ""


def _is_page(file: MetsFile) -> bool:
    return "prima.page" in file.mime or (file.mime in _XML and "PAGE" in file.group.upper().replace("PAGEFILE", ""))


def _is_alto(file: MetsFile) -> bool:
    named = f"{file.group} {file.section}".upper()
    return "alto" in file.mime or (file.mime in _XML and re.search("ALTO|FULLTEXT|OCR", named) is not None)


def _fitting(files: Sequence[MetsFile], options: MetsOptions) -> list[MetsFile]:
    """Returns the pictures of a page, best first."""
    fitting = [file for file in files if _is_picture(file) and (not options.group or _is_in(file, options.group))]
    if not options.group:
        fitting = [file for file in fitting if file.group.rpartition("/")[2].lower() not in _POOR_GROUPS]
    return sorted(fitting, key=lambda file: _rank(file.group))


def _is_in(file: MetsFile, group: str) -> bool:
    return group in {file.group, file.section}


def _why_none(page: MetsPage, files: Sequence[MetsFile], options: MetsOptions) -> str:
    if options.group:
        return f"the page has no picture in the group {options.group}"
    for file in files:
        if file.mime in _UNREADABLE:
            return f"the page has only {_UNREADABLE[file.mime]}, which is not read"
    if any(file.mime == "application/pdf" for file in files):
        return "the page has no picture but a PDF, which is not looked for pages: name the PDF itself"
    if page.files and not files:
        return f"the page's files are not listed in the METS: {', '.join(page.files[:5])}"
    return "the page has no picture"


def _rank(group: str) -> int:
    """Ranks a group; lower is better."""
    name = group.lower()
    if name in _BEST_GROUPS:
        return _BEST_GROUPS.index(name)
    last = name.rpartition("/")[2]
    return len(_BEST_GROUPS) + (last in _POOR_GROUPS)


def _is_picture(file: MetsFile) -> bool:
    """Whether a file is a picture by its type, else by its name; one with neither may be."""
    if "/" in file.mime:  # Without a slash it is not a type, but a word such as 'jpeg' or 'unknown'.
        if file.mime.startswith("image/") or file.mime == SERVICE:
            return True
        if file.mime not in {"application/octet-stream", "binary/octet-stream"}:
            return False
    names = [unquote(urlsplit(place).path) for place in file.places]
    return any(map(_PICTURES.fullmatch, names)) or not any(map(_OTHERS.fullmatch, names))
