"""Data to train on: the faces and the texts of packages, indexed once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from training import fonts, packages, texts

_SEED = 1


def prepare(folder: Path, tell: Callable[[str], None]) -> None:
    """Makes folder/root (unpacked packages), corpus.tsv, fonts.json and versions.json; what is there is kept."""
    versions = packages.fetch(folder, tell)
    (folder / "versions.json").write_text(json.dumps(versions, indent=1), "utf-8")
    index(folder, tell)


def index(folder: Path, tell: Callable[[str], None]) -> None:
    """Makes corpus.tsv and fonts.json of what lies in folder/root."""
    characters: Counter[str] = Counter()
    with (folder / "corpus.tsv").open("w", encoding="utf-8") as corpus:
        for language, text in texts.collect(folder / "root", _SEED):
            characters[language] += len(text)
            corpus.write(f"{language}\t{text}\n")
    tell(f"characters of text: {dict(characters.most_common())}")
    faces = list(fonts.find(folder / "root"))
    (folder / "fonts.json").write_text(json.dumps([asdict(face) for face in faces], ensure_ascii=False), "utf-8")
    tell(f"faces: {dict(Counter(face.kind for face in faces))}")
