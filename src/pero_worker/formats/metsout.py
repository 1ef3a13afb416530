"""Enters results into the METS they came from; everything else stays byte for byte."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from pero_worker.errors import UsageError
from pero_worker.inputs.mets.read import parse_xml

_NOTES = "https://ocr-d.de"
_XLINK = "http://www.w3.org/1999/xlink"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file that belongs to a page."""

    id: str
    """Unique in the METS."""
    href: str
    """Path relative to the METS, or an address."""
    mime: str
    """Its media type."""
    page: int
    """Position of the page's division among the document's elements, as `MetsPage.element`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGroup:
    """A group of files of one kind."""

    use: str
    """Its name, a valid xsd:ID."""
    files: tuple[NewFile, ...]
    """Its files, in the order of the pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The program that made the files."""

    name: str
    """Program and version."""
    notes: tuple[tuple[str, str], ...]
    """Options, as OCR-D calls them, with their values; output-file-grp is one of them."""


def check_group(use: str) -> str:
    """Returns `use`. Raises `UsageError` if it is not a valid name for a group."""
    if not _NAME.fullmatch(use) or len(use) > 200:
        raise UsageError(f"the group {use!r} must begin with a letter, and have letters, digits, '.', '_' and '-' only")
    return use


def enter(
    data: bytes, groups: Sequence[NewGroup], agent: Agent, *, created: datetime, overwrite: bool, by_url: bool = False
) -> bytes:
    """Returns the METS `data` with `groups` added. Raises `UsageError` if a group already exists and is not to be
    overwritten, or if the document has no place for them."""
    parse_xml(data, "the METS")
    if b"\0" in data[:4] or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError("a METS in UTF-16 is only read: save it as UTF-8 first")
    elements = _elements(data)
    uses = {group.use for group in groups}
    mets = next(element for element in elements if element.tag == "mets")
    present = [
        e for e in mets.inside if e.tag == "fileGrp" and (e.attributes.get("USE") or e.attributes.get("ID")) in uses
    ]
    if present and not overwrite:
        there = ", ".join(sorted(uses & {e.attributes.get("USE", "") for e in present}))
        raise UsageError(f"the METS has a group {there} already: --overwrite replaces it, or name another")
    old_ids = {e.attributes.get("ID", "") for old in present for e in old.inside if e.tag == "file"}
    edits = [_removal(data, element) for element in present]
    edits += [
        _removal(data, e)
        for e in mets.inside
        if e.tag == "fptr" and old_ids & {e.attributes.get("FILEID"), *(a.attributes.get("FILEID") for a in e.inside)}
    ]
    edits += [_removal(data, e) for e in mets.inside if e.tag == "agent" and present and _is_ours(data, e, agent)]
    section = next((e for e in mets.children if e.tag == "fileSec"), None)
    if section is None:
        raise UsageError("the METS has no section of files (fileSec): nothing can be entered into it")
    gone = set(map(id, present))
    text = "".join(_group(group, section.prefix, by_url=by_url) for group in groups)
    edits.append(_insertion(data, section, text, after="fileGrp", gone=gone))
    by_page: dict[int, list[str]] = {}
    for group in groups:
        for file in group.files:
            by_page.setdefault(file.page, []).append(file.id)
    for place, ids in by_page.items():
        division = elements[place]
        pointers = "".join(f"\n<{division.prefix}fptr FILEID={_quoted(name)}/>" for name in ids)
        edits.append(_insertion(data, division, pointers, after="fptr"))
    edits.append(_agent(data, mets, agent, created))
    return _edited(data, edits)


def taken_ids(data: bytes, groups: Collection[str]) -> set[str]:
    """Returns all ids in the document except those in `groups`, which are to be replaced."""
    elements = _elements(data)
    replaced = {
        id(inner)
        for element in elements
        if element.tag == "fileGrp" and element.attributes.get("USE") in groups
        for inner in (element, *element.inside)
    }
    return {e.attributes["ID"] for e in elements if "ID" in e.attributes and id(e) not in replaced}


@dataclass(slots=True, kw_only=True)
class _Element:
    """An element, and its position in the bytes."""

    tag: str
    prefix: str
    attributes: dict[str, str]
    start: int
    opened: int = 0
    """Where its start tag ends."""
    end: int = 0
    empty: bool = False
    children: list[_Element] = field(default_factory=list)

    @property
    def inside(self) -> Iterator[_Element]:
        waiting = list(reversed(self.children))
        while waiting:
            element = waiting.pop()
            yield element
            waiting += reversed(element.children)


Edit = tuple[int, int, bytes]
"""Start and end of the bytes to replace, and what replaces them."""


def _elements(data: bytes) -> list[_Element]:
    """Returns all elements in order, as lxml's `iter('*')` does."""
    found: list[_Element] = []
    stack: list[_Element] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        prefix, colon, tag = name.rpartition(":")
        element = _Element(tag=tag, prefix=prefix + colon, attributes=attributes, start=parser.CurrentByteIndex)
        element.opened = _tag_end(data, element.start)
        element.empty = data[element.opened - 2 : element.opened] == b"/>"
        if stack:
            stack[-1].children.append(element)
        stack.append(element)
        found.append(element)

    def end(_name: str) -> None:
        element = stack.pop()
        element.end = element.opened if element.empty else _tag_end(data, parser.CurrentByteIndex)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise UsageError(f"the METS cannot be changed: {error}") from error
    return found


def _tag_end(data: bytes, start: int) -> int:
    """Returns the position just after the '>' of the tag that begins at `start`."""
    place = start
    while True:
        close = data.index(b">", place)
        quotes = [(at, mark) for mark in (b'"', b"'") if (at := data.find(mark, place, close)) >= 0]
        if not quotes:
            return close + 1
        at, mark = min(quotes)
        place = data.index(mark, at + 1) + 1


def _removal(data: bytes, element: _Element) -> Edit:
    """Returns an edit that removes the element and the white space before it."""
    start = element.start
    while data[start - 1 : start].isspace():
        start -= 1
    return start, element.end, b""


def _insertion(data: bytes, parent: _Element, text: str, *, after: str, gone: Collection[int] = ()) -> Edit:
    """Returns an edit that puts `text` after the last child `after` that stays, otherwise at the start of `parent`."""
    content = text.encode("ascii", "xmlcharrefreplace")
    if parent.empty:
        name = f"</{parent.prefix}{parent.tag}>".encode()
        return parent.opened - 2, parent.opened, b">" + content + b"\n" + name
    before = [child for child in parent.children if child.tag == after and id(child) not in gone]
    place = before[-1].end if before else parent.opened
    return place, place, content


def _group(group: NewGroup, prefix: str, *, by_url: bool) -> str:
    kind = 'LOCTYPE="URL"' if by_url else 'LOCTYPE="OTHER" OTHERLOCTYPE="FILE"'
    files = "".join(
        f"\n<{prefix}file ID={_quoted(file.id)} MIMETYPE={_quoted(file.mime)}>"
        f'<{prefix}FLocat xmlns:xlink="{_XLINK}" {kind} xlink:href={_quoted(file.href)}/></{prefix}file>'
        for file in group.files
    )
    return f"\n<{prefix}fileGrp USE={_quoted(group.use)}>{files}\n</{prefix}fileGrp>"


def _agent(data: bytes, mets: _Element, agent: Agent, created: datetime) -> Edit:
    prefix = mets.prefix
    notes = "".join(
        f'<{prefix}note xmlns:ocrd="{_NOTES}" ocrd:option={_quoted(option)}>{_text(value)}</{prefix}note>'
        for option, value in agent.notes
    )
    text = (
        f'\n<{prefix}agent TYPE="OTHER" OTHERTYPE="SOFTWARE" ROLE="OTHER" OTHERROLE="recognition/text-recognition">'
        f"<{prefix}name>{_text(agent.name)}</{prefix}name>{notes}</{prefix}agent>"
    )
    header = next((child for child in mets.children if child.tag == "metsHdr"), None)
    if header is not None:
        return _insertion(data, header, text, after="agent")
    when = created.strftime("%Y-%m-%dT%H:%M:%S")
    return _insertion(data, mets, f'\n<{prefix}metsHdr CREATEDATE="{when}">{text}\n</{prefix}metsHdr>', after="metsHdr")


def _is_ours(data: bytes, element: _Element, agent: Agent) -> bool:
    """Returns whether the agent is an earlier entry of this program for the same groups."""
    text = data[element.start : element.end].decode("utf-8", "replace")
    group = dict(agent.notes).get("output-file-grp", "")
    return f">{agent.name.partition(' ')[0]} " in text and f">{_text(group)}</" in text


def _edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    pieces, place = [], 0
    # Insertions come before removals that begin at the same byte, and stay in the order they were made.
    for start, end, content in sorted(edits, key=lambda edit: (edit[0], edit[1] > edit[0] and not edit[2])):
        if end <= place and end > start:
            continue  # It lies within something that is removed as a whole.
        pieces += [data[place : max(place, start)], content]
        place = max(place, end)
    return b"".join([*pieces, data[place:]])


def _quoted(text: str) -> str:
    return quoteattr(text, {'"': "&quot;", "\n": "&#10;"})


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
