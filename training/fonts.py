"""The usable faces among the unpacked packages: their kind, family, measures and missing characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from fontTools.ttLib import TTFont, TTLibError
from PIL import ImageFont

from training.alphabet import CHARACTERS

Made = TypeVar("Made")

BLACKLETTER, TYPEWRITER, ROMAN, ORNAMENT = "blackletter", "typewriter", "roman", "ornament"
_KINDS = {
    BLACKLETTER: r"yfrak|ygoth|yswab|qtfraktur|qtblackforest|qtcloistered|qtlondon|qtheidelberg|unifraktur|pirata"
    r"|grenze|manufacturing|texturina|newrocker|blankenburg|missaali",
    TYPEWRITER: r"courier|typewriter|typist|tlwgtypo|specialelite|cutive|lmmono|freemono|lettergoth|nimbusmono|xanhmono"
    r"|liberationmono|cousine|cursor|umtype|anonymous|compagnon|cmuntt|cmunbtl|inconsolata|notomono|dejavusansmono",
}
_UNFIT = re.compile(
    r"math|symbol|keys|emoji|initial|orn|smcp|caps|sc-|[a-z]sc\.|dunhill|fib|icons|emoticons|fleuron|dingbat|display"
    r"|light|thin|hairline|black(?!forest|let)|extral|ultra|_ri|_rzi|_ai|dr\.|lmvtt|csc|funny|keyboard|cmunss[di]|cmunvi"
    r"|cmuntx|cmunso|cmunui|telugu|bengali|coll|pix|ligatur|outline|drm|punk|churchslav|semaphor|fetamont|aesupp"
    r"|cjk|phaistos|beuron|countries|fontawesome|simpleicons|svrsym|logix|miama|frederika|dantelogo|algol|cyklop|step"
    r"|qt(?!frak|blackf|cloist|london|heidel|abbie|agate|antiq|basker|beck|bengal|bodini|bookm|caslan|century|chancery"
    r"|eratype|garom|howard|kooper|korrin|lettergoth|oldgoudy|palat|prist|school|techt|weise|optim)|flow|fedorov|indiction|menaion|pochaevs|pomorsk|ponomar|mezenets|acathist|triod|shafarik|monomakh|jessen|quercus"
    r"|babel|abeced|wargames|domestic|itwasnt|junky|penguin|abogado|elegante|havana|hamlet|phonetic|cupola|jara|caliban"
    r"|cinzel|poiret|modak|baloo|lexend|ptolemy|foulis|ellhnik|almfixed|mukta|forum|medievalsharp|emerita|aboensis|goth(?!ic)"
    r"|cuprum|abee|apiph|chonburi|handwriting|novamono",
    re.IGNORECASE,
)
_ORNAMENTS = re.compile(r"fourierorns|feflow|qtdingbits", re.IGNORECASE)
_NEEDED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?()-")
_RARE_IN_BLACKLETTER = set("()0123456789!?;:")


@dataclass(frozen=True, slots=True)
class Face:
    """A face; measures are shares of the font size, `missing` are characters of the alphabet it lacks."""

    file: str
    name: str
    kind: str
    ascender: float
    descender: float
    missing: str

    @property
    def family(self) -> str:
        return re.sub(r"[^a-z]", "", self.name.lower())[:9]


def find(root: Path) -> Iterator[Face]:
    """Faces below `root`, each name once; `file` is relative to `root`."""
    names = set()
    for path in sorted([*root.glob("**/*.otf"), *root.glob("**/*.ttf")]):
        if _ORNAMENTS.match(path.name):
            yield Face(str(path.relative_to(root)), path.stem, ORNAMENT, 0.0, 0.0, CHARACTERS)
            continue
        face = None if _UNFIT.search(path.name) or path.is_symlink() else _face(path, str(path.relative_to(root)))
        if face is not None and face.name not in names:
            names.add(face.name)
            yield face


def _face(path: Path, file: str) -> Face | None:
    try:
        with TTFont(path, lazy=True) as font:
            known = set(map(chr, font.getBestCmap()))
            name = font["name"].getDebugName(4) or path.stem
    except (TTLibError, OSError, TypeError, AssertionError, KeyError):
        return None
    squeezed = path.name.lower().replace("-", "").replace("_", "")
    kind = next((kind for kind, pattern in _KINDS.items() if re.search(pattern, squeezed)), ROMAN)
    if not (_NEEDED - (_RARE_IN_BLACKLETTER if kind == BLACKLETTER else set())) <= known:
        return None
    ruler = ImageFont.truetype(str(path), 200)
    ascender, descender = -ruler.getbbox("hdlkb", anchor="ls")[1] / 200, ruler.getbbox("pqgyj", anchor="ls")[3] / 200
    if not (0.3 < ascender < 1.3 and 0.05 < descender < 0.7):
        return None
    missing = "".join(character for character in CHARACTERS if character not in known and character != " ")
    return Face(file, name, kind, round(ascender, 4), round(descender, 4), missing)


def surely(draw: Callable[[], Made]) -> Made:
    """What `draw` draws; it is asked again when FreeType refuses one of its glyphs, as with some at some sizes."""
    while True:
        try:
            return draw()
        except OSError:  # raster overflow
            continue


@lru_cache(maxsize=600)
def load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
