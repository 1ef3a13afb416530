"""The machine's model store: archives are downloaded once, unpacked safely, shared by all workers, and removed by age
and size."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from pero_worker.clock import SystemClock
from pero_worker.errors import StageError, TransientError
from pero_worker.models.entries import Entry, Hold, entries
from pero_worker.models.keep import Keep
from pero_worker.models.pipelines import content_folder
from pero_worker.models.unpack import Limits, unpack
from pero_worker.ports import Clock
from pero_worker.stage import Stage
from pero_worker.stores.location import StoreAccess, without_login
from pero_worker.stores.remote import fetch

logger = logging.getLogger(__name__)
_CONFIG = "config.ini"
_ONCE = "-once-"
"""Marks the key of an entry without a version, which serves one worker once."""


class ArchiveStore:
    """`ports.ModelStore` for archives on servers. Used from one thread; other processes share the folder `cache`.

    `servers` is called again for every archive. A folder is held for this store until the same stage is asked for
    again, `release`, `close`, or the end of the process; after that `keep` decides, at the start of a store and after
    each new archive.
    """

    def __init__(
        self,
        cache: Path,
        servers: Callable[[], Sequence[str]],
        access: StoreAccess,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        keep: Keep | None = None,
        pinned_only: bool = False,
    ) -> None:
        """Opens the store; nothing is downloaded yet. `pinned_only` refuses archives without a SHA-256."""
        self._cache = cache
        self._servers = servers
        self._access = access
        self._clock = clock or SystemClock()
        self._limits = limits or Limits()
        self._keep = keep or Keep()
        self._pinned_only = pinned_only
        self._holds: dict[str, Hold] = {}
        self._news = False
        self.clean(self._keep)

    def directory(self, stage: Stage) -> Path:
        """Returns the folder with the stage's files and its config.ini; it stays the same until the stage changes.

        Raises `StageError` if the archive is missing, refused or damaged, and `TransientError` if the servers are away
        or the disk is full.
        """
        if stage.directory is not None:
            return stage.directory
        if self._pinned_only and stage.archive and not stage.archive_digest:
            raise StageError(
                f"the archive {without_login(stage.archive)} of stage {stage.name} is a program that no SHA-256 pins: "
                "put it there with stage upload, or start workers with --trust-archives"
            )
        entry = Entry(place=self._cache / _folder_name(stage.name), key=_key(stage))
        try:
            hold = self._held(entry, stage)
            hold.touch(self._clock.now().timestamp())
        except OSError as error:
            raise TransientError(f"cannot write the model cache {self._cache}: {error.strerror}") from error
        if not entry.is_private():
            hold.release()
            raise StageError(
                f"{entry.folder} belongs to another user, or anybody may change it, and a model is a program: "
                "remove it, or choose another --cache"
            )
        self.release(stage.name)
        self._holds[stage.name] = hold
        if self._news:
            self._news = False
            try:
                self.clean(self._keep)
            except TransientError as error:
                logger.warning("%s", error)
        return entry.folder

    def _held(self, entry: Entry, stage: Stage) -> Hold:
        """Holds the entry as it was made; one that was changed since is rebuilt. Raises OSError if the disk fails."""
        hold = entry.hold(lambda folder: self._make(stage, folder))
        if not entry.is_private() or entry.is_as_made():
            return hold
        hold.release()
        if not entry.remove_unused():
            raise StageError(
                f"{entry.folder} is not what was unpacked there any more, and another worker uses it: stop the workers "
                "of this machine, and remove it"
            )
        logger.warning("%s is not what was unpacked there any more: it is made again", entry.folder)
        return entry.hold(lambda folder: self._make(stage, folder))

    def release(self, stage: str) -> None:
        """Releases the folder of the stage named `stage`, which is no longer used here."""
        hold = self._holds.pop(stage, None)
        if hold is None:
            return
        self._guarded(lambda: hold.touch(self._clock.now().timestamp()))
        hold.release()
        if _ONCE in hold.entry.key:
            self._guarded(hold.entry.remove_unused)

    def close(self) -> None:
        """Releases all folders."""
        for stage in list(self._holds):
            self.release(stage)

    def clean(self, keep: Keep) -> tuple[str, ...]:
        """Removes leftovers of crashes and whatever `keep` does not cover. Returns the names of the removed entries.

        Raises `TransientError` if the disk does not allow it.
        """
        removed: list[str] = []
        self._guarded(lambda: self._clean(keep, removed))
        return tuple(removed)

    def _clean(self, keep: Keep, removed: list[str]) -> None:
        oldest = self._clock.now().timestamp() - keep.age.total_seconds() if keep.age is not None else None
        kept: list[tuple[float, int, Entry]] = []
        for entry in entries(self._cache):
            entry.remove_leftovers()
            if not entry.folder.is_dir():
                continue
            used = entry.last_use()
            outdated = _ONCE in entry.key or (oldest is not None and used < oldest)
            if outdated and entry.remove_unused():
                removed.append(_name(entry))
            elif keep.bytes is not None:
                kept.append((used, entry.size(), entry))
        total = sum(size for _, size, _ in kept)
        for _, size, entry in sorted(kept, key=lambda item: item[0]):
            if keep.bytes is None or total <= keep.bytes:
                break
            if entry.remove_unused():
                removed.append(_name(entry))
                total -= size

    def _make(self, stage: Stage, folder: Path) -> Path:
        finished = folder / "unpacked"
        if stage.archive:
            archive = folder / "archive"
            fetch(
                self._servers(),
                stage.archive,
                archive,
                self._access,
                digest=stage.archive_digest,
                max_bytes=self._limits.bytes,
            )
            unpack(archive, finished, self._limits)
            self._news = True
            archive.unlink()
            finished = _content(finished, stage.config)
        else:
            finished.mkdir()
        config = finished / _CONFIG
        if config.is_dir():
            raise StageError(f"the archive {without_login(stage.archive)} is refused: {_CONFIG} is a folder in it")
        if stage.config or not config.exists():
            config.write_text(stage.config, "utf-8")
        return finished

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            raise TransientError(f"cannot clean the model cache {self._cache}: {error.strerror}") from error


def _content(unpacked: Path, config: str) -> Path:
    """Returns an archive's single folder as its top, unless the configuration's paths begin with that folder's name."""
    top = content_folder(unpacked)
    return unpacked if f"{top.name}/" in config else top


def _key(stage: Stage) -> str:
    """Returns a key that differs whenever the folder's content may differ."""
    parts = (stage.name, stage.version, stage.archive, stage.archive_digest.lower(), stage.config)
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    # Upstream never reuses an archive without a version.
    return f"{key}{_ONCE}{uuid4().hex}" if stage.archive and not stage.version else key


def _folder_name(stage: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", stage)[:100].lstrip(".") or "stage"


def _name(entry: Entry) -> str:
    return f"{entry.place.name}/{entry.key}"
