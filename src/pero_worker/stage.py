"""A stage: a name, a configuration, a version and the model files it needs."""

from __future__ import annotations

from configparser import BasicInterpolation, ConfigParser, InterpolationError
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pero_worker.errors import StageError

MAX_VALUE_LENGTH = 1_000_000
"""Longest value in config.ini, in characters, after interpolation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One processing stage."""

    name: str
    """The stage's name, also that of its queue."""
    config: str
    """The text of its config.ini."""
    version: str
    """The stage's version: any text that changes when the stage does."""
    archive: str = ""
    """URL of the model archive, or its path on the model store's servers; '' if there is none."""
    directory: Path | None = None
    """Folder with the unpacked model files, if they are already on this machine."""
    archive_digest: str = ""
    """SHA-256 of the archive in hexadecimal; '' if any archive is accepted."""

    def parsed(self) -> ConfigParser:
        """Returns the parsed configuration. Raises `StageError` if it is not an ini file."""
        return parse_config(self.config, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a stage costs a worker of one kind; None if it has not been measured."""

    seconds: float | None = None
    """Time for one page."""
    load_seconds: float | None = None
    """Time to load the stage."""
    memory: int | None = None
    """Memory in bytes that the loaded stage takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Which workers may serve a stage, and on whose behalf. A new property of this kind becomes a field here."""

    needs: str = ""
    """The label that a worker must have; '' if any worker may serve the stage."""
    owner: str = ""
    """The owner of the stage."""
    share: float = 1.0
    """The owner's part of the cluster, relative to other owners' parts."""


class _Pieces(list[str]):
    """Pieces of a value that is interpolated from others, with a bound on their total length."""

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
    """The usual interpolation, but bounded, so that a few bytes of values that name each other do not grow to
    gigabytes."""

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
