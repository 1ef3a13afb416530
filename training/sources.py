"""Faces and texts to draw from, chosen by a seed."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unicodedata import combining

from training.alphabet import CHARACTERS, INDEX
from training.fonts import BLACKLETTER, ORNAMENT, ROMAN, TYPEWRITER, Face

KINDS = {BLACKLETTER: 0.36, TYPEWRITER: 0.22, ROMAN: 0.42}
"""How often each kind of face is drawn: what real pages were misread in is drawn more than its share of print."""

FIGURES = 0.1
_HELD_OUT = ("caladea", "fanwood", "texgyresc", "cardo", "baskervil", "cutivemon", "umtypewri", "qtheidelb", "pirata")
"""Families never trained on."""
_PERIOD = re.compile(
    r"fell|casl|basker|garam|goudy|didot|bod[oi]n|century|schol|school|oldst|essays|elstob|junic|ibarra|coelac|linden|fbb"
    r"|etbemb|cochin|gentium|lmroman|cmuserif|cmuclass|bookm|rosariv|romande|accanth|berenis|sortsm|procion|theano|polyr"
    r"|neuton|playf|prata|oranien|antpolt|antykw|libertin|texgyre|liberationserif|tinos|charis|qt(?!opt)|crimson|erewhon"
)
_REAL_FRAKTUR = re.compile(r"yannis|version|unifrakt|qtfrakt|yfrak|yswab|ygoth")
_LANGUAGES = {  # how often a language is set in a kind of face
    BLACKLETTER: {"de": 8, "de-words": 3, "cs": 0.5, "en": 0.3, "nl": 0.3},
    TYPEWRITER: {"cs": 4, "cs-words": 1, "de": 2, "en": 3, "nl": 2, "nl-words": 0.5, "fr": 1, "pl": 1, "sk-words": 0.5,
                 "da": 0.7, "es": 0.7, "hu": 0.3, "it": 0.7},
    ROMAN: {"cs": 3, "cs-words": 1, "de": 4, "de-words": 1, "en": 2, "en-words": 0.5, "fr": 4, "fr-words": 1, "nl": 1,
            "nl-words": 0.5, "pl": 1.5, "pl-words": 0.5, "sk-words": 0.7, "la-words": 1,
            "da": 0.5, "da-words": 0.3, "es": 2, "es-words": 1, "hu": 0.3, "it": 2, "it-words": 1},
}  # fmt: skip
_QUOTES = {
    "de": ("„“", "„“", "»«"), "cs": ("„“", "„“", "»«"), "sk": ("„“",), "pl": ("„”", "«»"), "nl": ("“”", "„”", "''"),
    "fr": ("«»", "“”"), "es": ("«»", "“”"), "it": ("«»", "“”"), "da": ("»«", "“”"), "hu": ("„”",),
    "en": ("“”", "‘’", "\"\""),
}  # fmt: skip
_LONE = [character for character in CHARACTERS[1:] if not combining(character)]
_TEST_EVERY, _TEST_AT = 20, 7


@dataclass(frozen=True, slots=True)
class Setting:
    """A text and the face it is set in."""

    face: Face
    text: str


class Sources:
    """Draws faces and texts. One text in twenty and some families are for testing only: `training` leaves them out.

    `folder` is what `prepare` made: fonts.json, corpus.tsv and root/. Kinds without a face are left out; without one
    kept for testing, all faces of the kind serve. `figures` is the share of texts that are no prose.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        training: bool = True,
        kinds: Mapping[str, float] = KINDS,
        figures: float = FIGURES,
    ) -> None:
        self.folder = folder
        self.random = random.Random(seed)  # noqa: S311 - no secrets here
        self.kinds: dict[str, float] = {}
        self.figures = figures
        self._families: dict[str, list[list[Face]]] = {}
        self._weights: dict[str, list[float]] = {}
        faces = [Face(**face) for face in json.loads((folder / "fonts.json").read_text("utf-8"))]
        self.ornaments = [self.path(face) for face in faces if face.kind == ORNAMENT]
        for kind, share in kinds.items():
            families = defaultdict(list)
            for face in faces:
                if face.kind == kind:
                    families[face.family].append(face)
            chosen = {name: own for name, own in families.items() if name.startswith(_HELD_OUT) != training} or families
            if chosen:
                self.kinds[kind] = share
                self._families[kind] = list(chosen.values())
                self._weights[kind] = [_weight(name) for name in chosen]
        self._texts = defaultdict(list)
        with (folder / "corpus.tsv").open(encoding="utf-8") as corpus:
            for number, row in enumerate(corpus):
                language, text = row.rstrip("\n").split("\t", 1)
                if (number % _TEST_EVERY == _TEST_AT) != training:
                    self._texts[language].append(text)

    def path(self, face: Face) -> str:
        return str(self.folder / "root" / face.file)

    def setting(self, shortest: int, longest: int) -> Setting:
        """A text of so many characters that the face has all letters for."""
        kind = self.random.choices(list(self.kinds), list(self.kinds.values()))[0]
        face = self.face(kind)
        return Setting(face, self.text(face, shortest, longest))

    def face(self, kind: str) -> Face:
        return self.random.choice(self.random.choices(self._families[kind], self._weights[kind])[0])

    def text(self, face: Face, shortest: int, longest: int) -> str:
        for _ in range(30):
            length = self.random.randint(shortest, longest)
            text = self._figures(length) if self.random.random() < self.figures else self._prose(face, length)
            if "ſ" in face.missing:
                text = text.replace("ſ", "s")
            kept = "".join(character for character in text if character in INDEX and character not in face.missing)
            kept = " ".join(kept.split())
            if kept and len(text) - len(kept) <= 0.02 * len(text) + (face.kind == BLACKLETTER):
                return kept
        return "text"

    def _prose(self, face: Face, length: int) -> str:
        weights = {lang: w for lang, w in _LANGUAGES[face.kind].items() if lang in self._texts}
        language = self.random.choices(list(weights), list(weights.values()))[0]
        text = self.random.choice(self._texts[language])
        if len(text) > length:  # a window that begins and, mostly, ends with a word
            start = self.random.randint(0, len(text) - length)
            start = text.rfind(" ", 0, start) + 1 if start else 0
            end = start + length
            if self.random.random() < 0.85 and " " in text[start:end]:
                end = text.rfind(" ", start, end)
            text = text[start:end] + ("-" if self.random.random() < 0.12 else "")
        draw = self.random.random()
        text = self._marked(text, language[:2])
        if face.kind != BLACKLETTER and draw < 0.06:
            return text.upper()
        if face.kind == BLACKLETTER or (face.kind == ROMAN and draw < 0.16):
            text = with_long_s(text)
        return text

    def _marked(self, text: str, language: str) -> str:
        """Now and then with the quotes, dashes and footnote marks of books, which the texts of packages lack."""
        draw, words = self.random, text.split(" ")
        if draw.random() < 0.12:
            quotes = draw.choice(_QUOTES.get(language, ("“”", '""')))
            first = draw.randrange(len(words))
            last = draw.randrange(first, len(words))
            words[first] = quotes[0] + words[first]
            if draw.random() < 0.7:  # else it is closed in another line
                words[last] += quotes[1]
        if draw.random() < 0.07:
            words[draw.randrange(len(words))] += draw.choice((" —", " –", " -", ". —"))
        if draw.random() < 0.06:
            place = draw.choice((0, draw.randrange(len(words))))
            mark = draw.choice(("*)", "**)", "***)", "†)", "††)", "1)", "2)", f"{draw.randint(1, 99)})", "*", "†"))
            words[place] = f"{mark} {words[place]}" if place == 0 else words[place] + draw.choice(("", " ")) + mark
        return " ".join(words)

    def _figures(self, length: int) -> str:
        """What is not prose: numbers, dates, prices after leaders, references, letters at random."""
        draw, parts = self.random, list[str]()
        while sum(map(len, parts)) + len(parts) < length:
            kind = draw.random()
            if kind < 0.35:
                end = draw.choice(["", "", ".", ",", ":", ")", "°", ".-"])
                parts.append(f"{draw.randint(0, 10 ** draw.randint(1, 5))}{end}")
            elif kind < 0.5:
                parts.append(f"{draw.randint(1, 31)}. {draw.randint(1, 12)}. {draw.randint(1500, 2025)}")
            elif kind < 0.6:
                mark = draw.choice(["§ ", "† ", "* ", "č. ", "str. ", "Fol. ", "S. ", "p. ", "N", "Fr. ", "M. "])
                parts.append(f"{mark}{draw.randint(1, 4000)}")
            elif kind < 0.68:
                parts.append(draw.choice([".", " .", "…", "-", "–"]) * draw.randint(3, 14))
            elif kind < 0.8:
                opening, closing = tuple(draw.choice(["„“", "»«", "()", "[]", "“”", "«»", "''", '""', "‘’"]))
                parts.append(f"{opening}{''.join(draw.choices(CHARACTERS[1:53], k=draw.randint(2, 7)))}{closing}")
            else:
                parts.append("".join(draw.choices(_LONE, k=draw.randint(1, 7))))
        return " ".join(parts)[:length]


def with_long_s(text: str) -> str:
    """Long s but at the end of a word, as Fraktur and old antiqua have it."""
    return re.sub(r"s(?=[A-Za-zäöüßàâçéèêëîïôùûñáíóúìòõãẽũĩ])", "ſ", text)


def _weight(family: str) -> float:
    if _REAL_FRAKTUR.search(family):
        return 4.0
    return 3.0 if _PERIOD.search(family) else 1.0
