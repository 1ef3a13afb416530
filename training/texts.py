"""Text of packages as a corpus: one sentence or paragraph a line, with its language."""

from __future__ import annotations

import gzip
import html
import random
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from training.alphabet import INDEX

_PLAIN = str.maketrans(
    {"\u00a0": " ", "\t": " ", "‐": "-", "‑": "-", "−": "–", "―": "—", "\u200b": "", "\u00ad": "", "ﬁ": "fi", "ﬂ": "fl"}
)
_WORDS = {  # language: where its word list lies, and how many words of it
    "cs": ("myspell-cs/usr/share/hunspell/cs_CZ.dic", 60_000),
    "de": ("wogerman/usr/share/dict/ogerman", 40_000),
    "en": ("wamerican/usr/share/dict/american-english", 15_000),
    "fr": ("wfrench/usr/share/dict/french", 30_000),
    "nl": ("wdutch/usr/share/dict/dutch", 30_000),
    "pl": ("wpolish/usr/share/dict/polish", 30_000),
    "da": ("wdanish/usr/share/dict/danish", 15_000),
    "es": ("wspanish/usr/share/dict/spanish", 30_000),
    "it": ("witalian/usr/share/dict/italian", 30_000),
    "sk": ("hunspell-sk/usr/share/hunspell/sk_SK.dic", 30_000),
    "la": ("dictionary-la/package/index.dic", 40_000),
}
_FORTUNES = {
    "cs": "fortunes-cs", "de": "fortunes-de", "en": "fortunes", "es": "fortunes-es",
    "it": "fortunes-it", "pl": "fortunes-pl",
}  # fmt: skip
_WORDS_A_LINE = 12
_UNFIT = {"la": re.compile(r"v(?![aeiouy])", re.IGNORECASE)}  # that dictionary has every u as v, too
_COMPUTERESE = re.compile(r"[/=_<>$|{}*@]|--|\w\.\w")


def collect(root: Path, seed: int) -> Iterator[tuple[str, str]]:
    """Language and text of every usable line in the unpacked packages below `root`, each text once."""
    seen = set()
    for language, text in _paragraphs(root):
        whole = len(text) <= 300 and all(character in INDEX for character in text)
        for sentence in [text] if whole else re.split(r"(?<=[.!?;:]) ", text):
            if _usable(sentence) and sentence not in seen:
                seen.add(sentence)
                yield language, sentence
    generator = random.Random(seed)  # noqa: S311 - no secrets here
    for language, (place, most) in _WORDS.items():
        if (root / place).is_file():
            for line in _word_lines(_read(root / place), most, generator, _UNFIT.get(language)):
                yield f"{language}-words", line


def _paragraphs(root: Path) -> Iterator[tuple[str, str]]:
    for language, package in _FORTUNES.items():
        for path in sorted((root / package).glob("usr/share/games/fortunes/**/*")):
            if path.is_file() and not path.is_symlink() and path.suffix not in {".dat", ".u8"}:
                for paragraph in _read(path).split("\n%"):
                    yield language, _clean(re.sub(r".\x08|%", "", paragraph))
    for language in ("cs", "da", "de", "es", "fr", "hu", "it", "nl", "pl"):
        for path in sorted((root / f"manpages-{language}").glob("usr/share/man/**/*.gz")):
            yield from ((language, _clean(line)) for line in _manual(_read(path)))
        for path in sorted(root.glob(f"*-{language}/usr/share/**/*.html")):
            yield from ((language, _clean(text)) for text in _html(_read(path)))


def _read(path: Path) -> str:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("iso8859-2", errors="ignore")


def _html(page: str) -> list[str]:
    page = re.sub(r"(?is)<(script|style|head).*?</\1>", " ", page)
    blocks = re.split(r"(?i)</?(?:p|li|td|h\d|dd|dt|div)[^>]*>", page)
    return [html.unescape(re.sub(r"<[^>]+>", " ", block)) for block in blocks]


def _manual(page: str) -> Iterator[str]:
    for line in page.split("\n"):
        if not line.startswith(("'", '.\\"')):
            line = re.sub(r"^\.[A-Za-z]+ ?", "", line)  # noqa: PLW2901
            if _COMPUTERESE.search(line):
                continue
            yield re.sub(r"\\f.|\\\(..|\\&|\\-|\\.", lambda found: "-" if found.group() == "\\-" else "", line)


def _clean(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text).translate(_PLAIN)).strip()


def _usable(text: str) -> bool:
    letters = sum(character.isalpha() for character in text)
    return len(text) >= 12 and all(character in INDEX for character in text) and letters > 0.55 * len(text)


def _word_lines(listed: str, most: int, generator: random.Random, unfit: re.Pattern[str] | None) -> Iterator[str]:
    """Pseudo-sentences of shuffled words: letter pairs that a small corpus lacks."""
    words = [word.split("/")[0].strip() for word in listed.split("\n")[1:]]
    words = [word for word in words if word[:1].isalpha() and all(character in INDEX for character in word)]
    words = [word for word in words if unfit is None or not unfit.search(word)]
    generator.shuffle(words)
    words = words[:most]
    for start in range(0, len(words), _WORDS_A_LINE):
        sentence = [
            word + generator.choices(["", ",", ";", ":", "."], [12, 2, 0.3, 0.3, 1])[0]
            for word in words[start : start + _WORDS_A_LINE]
        ]
        yield " ".join([sentence[0].capitalize(), *sentence[1:]])
