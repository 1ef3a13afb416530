"""A stage: a name, a configuration, a version and the model files it needs."""

from __future__ import annotations

from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path

from pero_worker.errors import StageError


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


def parse_config(text: str, name: str) -> ConfigParser:
    parser = ConfigParser()
    try:
        parser.read_string(text, source=name)
    except ConfigError as error:
        raise StageError(f"stage {name}: config.ini cannot be parsed: {error}") from error
    return parser
