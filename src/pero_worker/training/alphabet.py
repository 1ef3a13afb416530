"""The characters that a recogniser can write: one class for each, followed by the CTC blank."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


class Alphabet:
    """`characters` in the order of their classes; one may be a letter with a combining mark, of two code points."""

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = tuple(characters)
        self._index = {character: place for place, character in enumerate(self.characters)}
        longest_first = sorted(filter(None, self._index), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) + "|.", re.DOTALL)

    @property
    def blank(self) -> int:
        return len(self.characters)

    def unknown(self, text: str) -> set[str]:
        """Returns the characters of `text` that cannot be written."""
        return {piece for piece in self._pattern.findall(text) if piece not in self._index}

    def classes(self, text: str) -> list[int]:
        """Returns the classes that spell `text`. Raises KeyError if it has unknown characters."""
        return [self._index[piece] for piece in self._pattern.findall(text)]

    def text(self, best: NDArray[np.intp]) -> str:
        """Returns the text of the most likely class per frame: repeats count once, blanks not at all."""
        if not len(best):
            return ""
        changes = best[np.concatenate([[True], best[1:] != best[:-1]])]
        return "".join(self.characters[index] for index in changes if index != self.blank)

    def with_more(self, characters: Iterable[str]) -> Alphabet:
        """Returns this alphabet with the new ones among `characters` added at its end."""
        known = dict.fromkeys(self.characters)
        return Alphabet(list(known | dict.fromkeys(characters)))


def plain_letter(character: str) -> str:
    """Returns the letter without its marks: the closest match for a character that is new to a network."""
    return unicodedata.normalize("NFKD", character)[:1]
