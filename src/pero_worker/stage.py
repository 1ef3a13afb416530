"""A stage: a name, a configuration, a version and the model files it needs."""

from __future__ import annotations

from configparser import BasicInterpolation, ConfigParser, InterpolationError
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pero_worker.errors import StageError

MAX_VALUE_LENGTH = 1_000_000
"""Characters of a value in config.ini, when all that it names is put in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One processing stage."""

    name: str
    """Of its queue, too."""
    config: str
    """The text of its config.ini."""
    version: str
    """Any text that changes when the stage does."""
    archive: str = ""
    """URL of its model archive, or the path on the model store's servers; '': none."""
    directory: Path | None = None
    """The unpacked model files, when they are on this machine already."""
    archive_digest: str = ""
    """SHA-256 of the archive in hexadecimal; '': any."""

    def parsed(self) -> ConfigParser:
        """The configuration; raises StageError when it is not an ini file."""
        return parse_config(self.config, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a stage costs a worker of one kind; None = it has not been measured."""

    seconds: float | None = None
    """Of one page."""
    load_seconds: float | None = None
    """Of loading the stage."""
    memory: int | None = None
    """Bytes that it takes while it is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Which workers may serve a stage, and for whom they do. A new fact of this kind is a field here."""

    needs: str = ""
    """The label that a worker must have; '' = any worker may."""
    owner: str = ""
    """Whose stage it is."""
    share: float = 1.0
    """The owner's part of the cluster, beside other owners' parts."""


class _Pieces(list[str]):
    """Of a value that is put together from others."""

    def __init__(self, option: str, section: str) -> None:
        super().__init__()
        self._left = MAX_VALUE_LENGTH
        self._where = (option, section)

    def append(self, piece: str) -> None:
        self._left -= len(piece) + 1
        if self._left < 0:
            raise InterpolationError(*self._where, f"[{self._where[1]}] {self._where[0]} grows beyond all bounds")
        super().append(piece)


class _BoundedInterpolation(BasicInterpolation):
    """As usual, but a few bytes that name each other do not become gigabytes."""

    def before_get(self, parser: Any, section: str, option: str, value: str, defaults: Any) -> str:
        pieces = _Pieces(option, section)
        self._interpolate_some(parser, option, pieces, value, section, defaults, 1)  # type: ignore[attr-defined]
        return "".join(pieces)


def parse_config(text: str, name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=_BoundedInterpolation())
    try:
        parser.read_string(text, source=name)
    except ConfigError as error:
        raise StageError(f"stage {name}: config.ini cannot be parsed: {error}") from error
    return parser
