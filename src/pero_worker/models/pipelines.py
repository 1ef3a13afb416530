"""Pipelines: resolves what `--pipeline` names to stages in their order."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

import pero_worker
from pero_worker.errors import StageError
from pero_worker.models.trust import Judge
from pero_worker.models.unpack import is_archive, unpack
from pero_worker.stage import Stage

_BUNDLED = Path(pero_worker.__file__).parent / "pipelines"
_CONFIG = "config.ini"
_MANIFEST = "pipeline.toml"
_STAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ARCHIVE_SUFFIX = re.compile(r"\.(zip|tgz|txz|tbz2?|tar(\.[a-z0-9]+)?)$", re.IGNORECASE)
_RESERVED = frozenset({"out", "log"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What `--pipeline` names."""

    name: str
    """The pipeline's name."""
    stages: tuple[Stage, ...]
    """The stages in the order that a page goes through them; each has its `directory` on this machine."""
    description: str = ""
    """What the pipeline is for, in one line."""

    @property
    def version(self) -> str:
        """A version that changes whenever any of the stages does."""
        return "+".join(stage.version for stage in self.stages)


def load_pipeline(name_or_path: str, *, cache: Path, judge: Judge | None = None) -> Pipeline:
    """Loads a bundled pipeline, a folder, a config.ini, or an archive (unpacked below `cache`, once).

    A folder is a pipeline if it holds config.ini (one stage, named after the folder) or pipeline.toml with `stages =
    ["layout", "ocr"]`, each a folder with a config.ini. `judge` may refuse an archive before it is unpacked. Raises
    `StageError` if `name` is none of these, is refused, or is unusable.
    """
    bundled = _BUNDLED / name_or_path
    path = Path(name_or_path)
    if _STAGE_NAME.fullmatch(name_or_path) and bundled.is_dir():
        return _from_folder(bundled, name_or_path)
    if path.name == _CONFIG and path.is_file():
        return _from_folder(path.parent, path.absolute().parent.name)
    if path.is_dir():
        return _from_folder(path, path.absolute().name)
    if is_archive(path):
        return _from_archive(path, cache, judge)
    known = ", ".join(bundle.name for bundle in bundled_pipelines())
    raise StageError(
        f"there is no pipeline {name_or_path!r}: name a bundled one ({known}), or a folder or archive with a {_CONFIG}"
    )


def pipeline_cache() -> Path:
    """Returns the folder where this user's archives are unpacked."""
    return Path(platformdirs.user_cache_dir("pero-worker")) / "pipelines"


def bundled_pipelines() -> tuple[Pipeline, ...]:
    return tuple(_from_folder(path, path.name) for path in sorted(_BUNDLED.iterdir()) if path.is_dir())


def content_folder(unpacked: Path) -> Path:
    """Returns the folder where an archive's files begin: many archives hold a single folder with everything in it."""
    # macOS adds these to its zips; they do not count.
    entries = [entry for entry in unpacked.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    if len(entries) == 1 and entries[0].is_dir() and not (unpacked / _CONFIG).exists():
        return entries[0]
    return unpacked


def _from_archive(archive: Path, cache: Path, judge: Judge | None) -> Pipeline:
    try:
        with archive.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StageError(f"cannot read {archive}: {error.strerror}") from error
    if judge is not None:
        judge(archive.name, digest)
    folder = cache / digest
    if not folder.is_dir():
        unpack(archive, folder)
    return _from_folder(content_folder(folder), _ARCHIVE_SUFFIX.sub("", archive.name) or archive.name)


def _from_folder(folder: Path, name: str) -> Pipeline:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip("._-") or "pipeline"
    manifest = folder / _MANIFEST
    if not manifest.is_file():
        return Pipeline(name=name, stages=(_stage(folder, name),))
    try:
        values = tomllib.loads(manifest.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{manifest} cannot be read: {error}") from error
    names, description = values.get("stages", [name]), values.get("description", "")
    if not isinstance(names, list) or not names or not all(isinstance(stage, str) for stage in names):
        raise StageError(f'{manifest}: stages must be a list of folder names, as stages = ["layout", "ocr"]')
    if len(set(names)) != len(names):
        raise StageError(f"{manifest}: a stage is named twice")
    if "stages" not in values:
        return Pipeline(name=name, stages=(_stage(folder, name),), description=str(description))
    return Pipeline(
        name=name, stages=tuple(_stage(folder / stage, stage) for stage in names), description=str(description)
    )


def _stage(folder: Path, name: str) -> Stage:
    if not _STAGE_NAME.fullmatch(name) or name in _RESERVED:
        raise StageError(f"{name!r} is no name for a stage: letters, digits, '.', '_' and '-', and not 'out' or 'log'")
    try:
        config = (folder / _CONFIG).read_text("utf-8-sig")
    except FileNotFoundError:
        raise StageError(f"{folder} is no pipeline: it holds no {_CONFIG}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{folder / _CONFIG} cannot be read: {error}") from error
    stage = Stage(name=name, config=config, version=_version(folder), directory=folder.absolute())
    stage.parsed()
    return stage


def _version(folder: Path) -> str:
    """Returns a version that changes whenever a file that may affect the results does."""
    digest = hashlib.sha256()
    try:
        for path in _model_files(folder):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise StageError(f"cannot read the model files in {folder}: {error}") from error
    return digest.hexdigest()[:12]


def _model_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix.lower() not in {".md", ".toml"}:
            yield path
