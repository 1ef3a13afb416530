"""Model archives that this user has said they trust: an archive's network and configuration are a program."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import platformdirs

from pero_worker.errors import OutputError, StageError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 1 << 20

Judge = Callable[[str, str], None]
"""Takes an archive's name and its SHA-256 in hexadecimal; raises `StageError` unless the archive may be used."""


class TrustedArchives:
    """SHA-256 digests in a file of this user's, one per line, each followed by the archive's name."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or Path(platformdirs.user_config_dir("pero-worker")) / "trusted-archives"

    def __contains__(self, digest: str) -> bool:
        try:
            with self._file.open("r", encoding="utf-8", errors="replace") as stream:
                lines = stream.read(_MAX_BYTES).splitlines()
        except OSError:
            return False
        return any(line[:64] == digest for line in lines)

    def add(self, digest: str, name: str) -> None:
        """Adds an archive. Raises `OutputError` if it cannot be recorded."""
        if digest in self:
            return
        readable = "".join(character if character.isprintable() else "?" for character in name)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
                stream.write(f"{digest} {readable}\n")
        except OSError as error:
            raise OutputError(
                f"cannot remember in {self._file} that {readable} is trusted: {error.strerror}"
            ) from error


def judge_by(trusted: TrustedArchives, *, word: bool) -> Judge:
    """Returns a judge that accepts trusted archives, and with `word`, the user's own, any other, which is then
    remembered."""

    def judge(name: str, digest: str) -> None:
        if word:
            trusted.add(digest, name)
        elif digest not in trusted:
            raise StageError(
                f"{name} is a program that would run as you: if you trust its source, say so once with --trust "
                f"(its SHA-256 is {digest})"
            )

    return judge


def is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 in hexadecimal."""
    return _DIGEST.fullmatch(text.lower()) is not None
