"""Tagged PDF: what each piece of the text layer is, in reading order, for people who have it read aloud."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, String

from pero_worker.formats.textlayer import LAYER, Role

OLDEST_WITH_TAGS = "1.4"
"""Oldest version of PDF that has tags."""
_OURS = "/PeroWorkerText"
"""Marks the root of a structure that describes nothing but text layers that we made."""
_PER_NODE = 1000
"""Pages per node of the number tree."""


class Structure:
    """Builds the structure tree of a PDF that has none, page by page."""

    def __init__(self, pdf: pikepdf.Pdf) -> None:
        self._pdf = pdf
        self._root = pdf.make_indirect(Dictionary({"/Type": Name.StructTreeRoot, _OURS: True}))
        self._whole = pdf.make_indirect(Dictionary(Type=Name.StructElem, S=Name.Document, P=self._root))
        self._elements: list[pikepdf.Object] = []
        self._layers: list[tuple[pikepdf.Object, pikepdf.Object]] = []
        """Each layer with the list of its elements."""

    def add(self, sheet: pikepdf.Page, layer: pikepdf.Object, roles: Iterable[Role]) -> None:
        """Adds a page's text layer; `roles` are those of its marked parts, in order."""
        own = []
        for number, role in enumerate(roles):
            place = Dictionary(Type=Name.MCR, Pg=sheet.obj, Stm=layer, MCID=number)
            element = Dictionary(Type=Name.StructElem, S=Name(f"/{role}"), P=self._whole, Pg=sheet.obj, K=place)
            own.append(self._pdf.make_indirect(element))
        if own:
            self._layers.append((layer, self._pdf.make_indirect(Array(own))))
            self._elements.extend(own)

    def finish(self) -> None:
        """Puts the tree into the PDF. A PDF without any text stays as it is: there is nothing to describe."""
        if not self._elements:
            return
        for number, (layer, _) in enumerate(self._layers):
            layer.StructParents = number
        pairs = [(number, own) for number, (_, own) in enumerate(self._layers)]
        nodes = [
            self._pdf.make_indirect(
                Dictionary(
                    Limits=Array([part[0][0], part[-1][0]]),
                    Nums=Array([entry for pair in part for entry in pair]),
                )
            )
            for part in (pairs[at : at + _PER_NODE] for at in range(0, len(pairs), _PER_NODE))
        ]
        self._whole.K = Array(self._elements)
        self._root.K = self._whole
        self._root.ParentTree = self._pdf.make_indirect(Dictionary(Kids=Array(nodes)))
        self._root.ParentTreeNextKey = len(self._layers)
        self._pdf.Root.StructTreeRoot = self._root
        self._pdf.Root.MarkInfo = Dictionary(Marked=True)


def mark_as_artifact(pdf: pikepdf.Pdf, sheet: pikepdf.Page) -> None:
    """Marks everything a page draws except its text layer, such as a scan under its words, as not part of the text."""
    there = sheet.obj.Contents
    *layer, drawing = there if isinstance(there, Array) else [there]
    begin, end = (pdf.make_indirect(pikepdf.Stream(pdf, text)) for text in (b"/Artifact BMC\n", b"\nEMC\n"))
    sheet.obj.Contents = Array([*layer, begin, drawing, end])


def is_tagged(pdf: pikepdf.Pdf) -> bool:
    """Returns whether the PDF has a structure of its own."""
    return "/StructTreeRoot" in pdf.Root or "/MarkInfo" in pdf.Root


def forget_ours(pdf: pikepdf.Pdf) -> None:
    """Removes the structure of an earlier recognition, whose text is removed, too."""
    root = pdf.Root.get("/StructTreeRoot")
    if isinstance(root, Dictionary) and root.get(_OURS) is True:
        del pdf.Root.StructTreeRoot
        del pdf.Root.MarkInfo


def roles_of(pdf: pikepdf.Pdf) -> list[list[Role]]:
    """Returns the roles of the text layers that `Structure` described in a PDF, page by page; [] for a page without."""
    if "/StructTreeRoot" not in pdf.Root:
        return [[] for _ in pdf.pages]
    known: dict[int, Any] = {}
    for node in pdf.Root.StructTreeRoot.ParentTree.Kids:
        numbers = list(node.Nums)
        known.update((int(key), elements) for key, elements in zip(numbers[::2], numbers[1::2], strict=True))
    found: list[list[Role]] = []
    for sheet in pdf.pages:
        layer = layer_of(sheet)
        elements = known.get(int(layer.StructParents), ()) if layer is not None and "/StructParents" in layer else ()
        found.append([Role(str(element.S)[1:]) for element in elements])
    return found


def layer_of(sheet: pikepdf.Page) -> Any:
    """Returns the text layer that we made for a page; None if it has none."""
    forms = sheet.obj.get("/Resources", {}).get("/XObject", {})
    return next((form for name, form in forms.items() if name.startswith(LAYER)), None)


def set_language(pdf: pikepdf.Pdf, language: str) -> None:
    """Sets the language of the text (BCP 47), unless the PDF states one."""
    if language and "/Lang" not in pdf.Root:
        pdf.Root.Lang = String(language)
