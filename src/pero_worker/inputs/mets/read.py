"""Reads a METS: its groups of files and its pages. It is hostile until parsed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lxml import etree

from pero_worker.errors import NoInputError
from pero_worker.inputs.books import MAX_PAGES

MAX_BYTES = 64_000_000
_XLINK = "{http://www.w3.org/1999/xlink}href"
_MAX_DEPTH = 50
_MAPS_OF_PAGES = ("physical", "manuscript")
Element: TypeAlias = etree._Element


@dataclass(frozen=True, slots=True, kw_only=True)
class MetsFile:
    """A `file` of a METS."""

    id: str
    """Its `ID`; '' if it has none."""
    group: str
    """`USE` of its group, else that group's `ID`; names of nested groups are joined by '/'."""
    mime: str
    """Its MIME type in lower case; '' if not stated."""
    places: tuple[str, ...]
    """Its FLocats as they are written: paths and addresses."""
    section: str = ""
    """`ID` of its group, which differs where several groups have the same `USE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetsPage:
    """The division of a page."""

    id: str
    """Its `ID`; '' if it has none."""
    label: str
    """Its `ORDERLABEL` or `LABEL`."""
    files: tuple[str, ...]
    """Ids of its files, as the division refers to them."""
    element: int = -1
    """The number of its division among the document's elements, from 0; -1 if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mets:
    """The parts of a METS that are needed to read its pages."""

    files: tuple[MetsFile, ...]
    """The files of all groups, in order."""
    pages: tuple[MetsPage, ...]
    """Its pages, in order; () without a map of pages."""
    label: str
    """Its title; '' if not stated."""
    warnings: tuple[str, ...]
    """What is wrong with it."""
    others: tuple[str, ...] = ()
    """Addresses of other METS that it points to, as the METS of a series points to those of its volumes."""


def parse_xml(data: bytes, source: str) -> Element:
    """Parses XML, loading and expanding nothing, and returns its root.

    Raises `NoInputError` with a sentence that says why it cannot be used.
    """
    if len(data) > MAX_BYTES:
        raise NoInputError(f"{source} is larger than {MAX_BYTES // 1_000_000} MB and was not read")
    text = data.removeprefix(b"\xef\xbb\xbf")
    if text[:1].isspace():  # Some programs write a line too many, and no parser accepts the declaration then.
        data = text.lstrip()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NoInputError(f"{source} is not well-formed XML: {reason}") from error
    declared = root.getroottree().docinfo.internalDTD
    if declared is not None and any(True for _ in declared.iterentities()):
        raise NoInputError(f"{source} declares entities, which are not expanded: remove them")
    return root


def read_mets(data: bytes, source: str) -> Mets:
    """Reads the first `mets` element anywhere in the document. Raises errors as `read_all_mets` does."""
    return next(read_all_mets(data, source))


def read_all_mets(data: bytes, source: str) -> Iterator[Mets]:
    """Reads each METS in a document: the document itself, or the records of an OAI-PMH response.

    Raises `NoInputError` if there is none, or if it is not XML.
    """
    root = parse_xml(data, source)
    if _tag(root) == "mets":
        yield _read(root, [])
        return
    found = [element for element in root.iter() if _tag(element) == "mets"]
    found = [mets for mets in found if not any(_tag(above) == "mets" for above in _ancestors(mets))]
    if not found:
        refused = next((e for e in root.iter() if _tag(e) == "error"), None)
        said = f": it says {' '.join((refused.text or '').split())[:200]!r}" if refused is not None else ""
        raise NoInputError(f"{source} is XML without METS (its root is <{_tag(root)}>){said}")
    more = next((e for e in root.iter() if _tag(e) == "resumptionToken" and (e.text or "").strip()), None)
    for number, mets in enumerate(found):
        only_some = "there are more records behind its resumptionToken, which are not asked for"
        yield _read(mets, [only_some] if more is not None and not number else [])


def _read(mets: Element, warnings: list[str]) -> Mets:
    files = tuple(
        file for section in _children(mets, "fileSec") for group in _groups(section) for file in _files_of(*group)
    )
    known: set[str] = set()
    for file in files:
        if file.id and file.id in known:
            warnings.append(f"the file id {file.id!r} is used twice; the first file is meant")
        known.add(file.id)
    pages = tuple(_pages(mets, warnings))
    if len(pages) > MAX_PAGES:
        raise NoInputError(f"the METS has {len(pages)} pages, more than the {MAX_PAGES} that are read")
    seen: set[str] = set()
    for number, page in enumerate(pages, 1):
        if not page.id and any(other.id for other in pages[:20]):
            warnings.append(f"page {number} has no ID")
        elif page.id and page.id in seen:
            warnings.append(f"the page ID {page.id!r} is used twice")
        seen.add(page.id)
        missing = [name for name in page.files if name not in known]
        if missing:
            warnings.append(f"page {number} refers to files that are not listed: {', '.join(missing[:5])}")
    others = tuple(_href(element) for element in mets.iter() if _tag(element) == "mptr")
    return Mets(files=files, pages=pages, label=_title(mets), warnings=tuple(warnings), others=others)


def _groups(parent: Element, above: str = "", depth: int = 0) -> Iterator[tuple[str, Element]]:
    for group in _children(parent, "fileGrp"):
        own = group.get("USE") or group.get("ID") or ""
        name = f"{above}/{own}" if above and own else above or own
        yield name, group
        if depth < _MAX_DEPTH:
            yield from _groups(group, name, depth + 1)


def _files_of(name: str, group: Element, depth: int = 0) -> Iterator[MetsFile]:
    """Yields the files of a group; a file may contain others that were made from it."""
    for file in _children(group, "file"):
        if depth < _MAX_DEPTH:
            yield from _files_of(name, file, depth + 1)
        locators = [locator for locator in _children(file, "FLocat") if _href(locator)]
        yield MetsFile(
            id=file.get("ID", ""),
            group=name,
            mime=file.get("MIMETYPE", "").strip().lower(),
            places=tuple(_href(locator) for locator in locators),
            section=group.get("ID", ""),
        )


def _href(locator: Element) -> str:
    """Returns the `href` in whatever namespace: XLink has several, and some documents use none."""
    found = locator.get(_XLINK) or next(
        (value for name, value in locator.attrib.items() if etree.QName(name).localname == "href"), ""
    )
    return str(found).strip()


def _pages(mets: Element, warnings: list[str]) -> Iterator[MetsPage]:
    fitting = _maps_of_pages(list(_children(mets, "structMap")))
    if not fitting:
        warnings.append("there is no map of its pages (structMap): the pictures are taken in the order of the files")
        return
    divisions = [division for division in fitting[0].iter() if _tag(division) == "div"]
    pages = [division for division in divisions if "page" in division.get("TYPE", "").lower()]
    # A 'pageSequence' holds pages and is not one; a 'doublepage' with files is one, but its halves without are not.
    with_files = [page for page in pages if _has_files(page)]
    outer = {ancestor for page in with_files or pages for ancestor in _ancestors(page)}
    whole = set(with_files) - outer
    pages = [page for page in pages if page in whole or (page not in outer and whole.isdisjoint(_ancestors(page)))]
    pages = pages or [division for division in divisions if next(_children(division, "div"), None) is None]
    if fitting[0].get("TYPE", "").lower() == "logical" and not any(map(_has_files, pages)):
        warnings.append("its only map (structMap) names no files: the pictures are taken in the order of the files")
        return
    orders = [page.get("ORDER", "").strip() for page in pages]
    if pages and all(order.isascii() and order.isdigit() and len(order) < 10 for order in orders):
        pages = [page for _, page in sorted(zip(map(int, orders), pages, strict=True), key=lambda pair: pair[0])]
    places = {element: place for place, element in enumerate(mets.getroottree().getroot().iter("*"))}
    for page in pages:
        yield MetsPage(
            element=places[page],
            id=page.get("ID", ""),
            label=(page.get("ORDERLABEL") or page.get("LABEL") or "").strip()[:1000],
            files=tuple(dict.fromkeys(_references(page))),
        )


def _maps_of_pages(maps: list[Element]) -> list[Element]:
    """Finds the maps of pages: by type, else by label, else the only one."""
    for name in ("TYPE", "LABEL"):
        for wanted in _MAPS_OF_PAGES:
            fitting = [found for found in maps if found.get(name, "").lower().startswith(wanted)]
            if fitting:
                return fitting
    return maps if len(maps) == 1 else []


def _has_files(page: Element) -> bool:
    return next(_references(page), None) is not None


def _ancestors(element: Element) -> Iterator[Element]:
    parent = element.getparent()
    while parent is not None:
        yield parent
        parent = parent.getparent()


def _references(page: Element) -> Iterator[str]:
    for pointer in page.iter():
        if _tag(pointer) in {"fptr", "area"} and pointer.get("FILEID"):
            yield from pointer.get("FILEID", "").split()


def _title(mets: Element) -> str:
    if mets.get("LABEL", "").strip():
        return " ".join(mets.get("LABEL", "").split())[:1000]
    for element in mets.iter():
        kind = _tag(element)
        # MODS and Dublin Core, or Kitodo's and Goobi's own.
        is_title = kind == "title" or (kind == "metadata" and element.get("name") == "TitleDocMain")
        if is_title and (element.text or "").strip():
            return " ".join((element.text or "").split())[:1000]
    for division in (e for tree in _children(mets, "structMap") for e in _children(tree, "div")):
        if division.get("LABEL", "").strip():
            return " ".join(division.get("LABEL", "").split())[:1000]
    return ""


def _tag(element: Element) -> str:
    """Returns the name without its namespace; '' for comments and processing instructions."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _tag(child) == name)
