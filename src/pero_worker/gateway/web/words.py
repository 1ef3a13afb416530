"""The texts of the pages in each language: one catalogue per language in `words/`. Pure, except for reading them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter

from markupsafe import Markup

from pero_worker.messages import ENGLISH, Message, Text
from pero_worker.text import one_line

LANGUAGES: Mapping[str, str] = {"en": "English", "de": "Deutsch", "cs": "Čeština"}
"""Languages by code, each with its own name; the first is the default for visitors who ask for none of them."""
_FOLDER = Path(__file__).parent / "words"
_PLURALS: Mapping[str, Callable[[int], str]] = {
    "en": lambda n: "one" if n == 1 else "other",
    "de": lambda n: "one" if n == 1 else "other",
    "cs": lambda n: "one" if n == 1 else "few" if 2 <= n <= 4 else "other",
}
_MAX_HEADER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The catalogue of one language."""

    language: str
    """The code of the language."""
    texts: Mapping[str, str | Mapping[str, str]]
    """Texts by key; where the wording depends on the number `n`, several by plural form."""
    said: Mapping[str, Text]
    """The texts of messages about a cluster, by the kinds in `messages.py`."""

    def __call__(self, key: str, /, **values: object) -> str:
        """Returns the text of a key with its values filled in; raises `KeyError` if there is no such key."""
        text = self.texts[key]
        if not isinstance(text, str):
            number = values.get("n")
            text = text[_PLURALS[self.language](number if isinstance(number, int) else 0)]
        return text.format(**values) if values else text

    def tell(self, message: Message) -> Markup:
        """Returns a message in this language; the text it quotes stays as it was written, and is marked as English."""
        template = self.said[message.kind]
        if not isinstance(template, str):
            number = message.values.get("n")
            template = template[_PLURALS[self.language](number if isinstance(number, int) else 0)]
        told = Markup()
        for literal, name, form, _ in Formatter().parse(template):
            told += literal
            if name is not None:
                told += self._value(name, message.values[name], form or "")
        return told

    def _value(self, name: str, value: object, form: str) -> str:
        if isinstance(value, Message):
            return self.tell(value)
        if isinstance(value, float):
            return format(value, form).replace(".", "." if self.language == "en" else ",")
        text = one_line(str(value))
        if name == "reason" and self.language != "en":
            return Markup('<span lang="en">{}</span>').format(text)
        return text

    def figure(self, text: str) -> str:
        """Returns a number, given as text for a terminal, with this language's decimal mark."""
        return text if self.language == "en" else text.replace(".", ",")

    def has(self, key: str) -> bool:
        return key in self.texts

    def number(self, value: float, digits: int = 0) -> str:
        """Returns a number as the language writes it: `1,234.5`, `1.234,5`, `1 234,5`."""
        text = f"{value:,.{digits}f}"
        marks = {"en": ",.", "de": ".,", "cs": "\u00a0,"}[self.language]
        return text.replace(",", "\0").replace(".", marks[1]).replace("\0", marks[0])


@cache
def words_of(language: str) -> Words:
    values = tomllib.loads((_FOLDER / f"{language}.toml").read_text("utf-8"))
    texts = {f"{room}.{key}": text for room, entries in values.items() for key, text in entries.items()}
    said = ENGLISH if language == "en" else tomllib.loads((_FOLDER / f"said.{language}.toml").read_text("utf-8"))
    return Words(language=language, texts=texts, said=said)


def choose_language(wished: str | None, accepted: str) -> str:
    """Returns the language that the visitor chose, else the best one that their browser asks for
    (`Accept-Language`)."""
    if wished in LANGUAGES:
        return str(wished)
    found: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:_MAX_HEADER].split(",")):
        name, _, more = part.strip().partition(";")
        quality = re.fullmatch(r"\s*q=(0(?:\.[0-9]{1,3})?|1(?:\.0{1,3})?)\s*", more)
        weight = float(quality[1]) if quality else 1.0
        code = name.strip().lower().partition("-")[0]
        if code in LANGUAGES and weight > 0:
            found.append((-weight, place, code))
    return min(found)[2] if found else next(iter(LANGUAGES))
