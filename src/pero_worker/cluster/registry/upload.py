"""Packs model folders and uploads archives to the store."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kazoo.client import KazooClient

from pero_worker.cluster.opening import Cluster
from pero_worker.cluster.registry.archives import renew_digest
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.servers import FTP, list_names
from pero_worker.cluster.registry.stages import read_version, stage_names
from pero_worker.engines.registry import engine_name
from pero_worker.errors import StageError, UsageError
from pero_worker.models.pipelines import bundled_pipelines, content_folder, load_pipeline
from pero_worker.models.unpack import unpack
from pero_worker.stage import Stage, parse_config
from pero_worker.stores.location import StoreAccess, is_url
from pero_worker.stores.remote import upload
from pero_worker.wire.tree import check_name
from pero_worker.worker.trial import DEFAULT_SECONDS, try_stage

_MARK = 12
"""How many hexadecimal digits of its digest name an archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedModel:
    """A model ready for upload."""

    archive: Path
    """The archive file."""
    config: str
    """Text of its config.ini."""
    folder: Path
    """The archive's contents, unpacked as a worker will see them."""


@contextmanager
def archive_of(model: Path, config: str | None = None) -> Iterator[PackedModel]:
    """Yields an archive of `model`, which may be a bundled pipeline's name, with its own config.ini unless `config` is
    given. A folder is packed temporarily. Raises `UsageError` if there is no such model, or if it does not say what the
    stage does."""
    bundled = {pipeline.name: pipeline.stages[0].directory for pipeline in bundled_pipelines()}
    source = model if model.exists() else bundled.get(str(model)) or model
    with tempfile.TemporaryDirectory(prefix="pero-upload-") as scratch:
        if source.is_dir():
            archive = Path(scratch) / "model.tar.gz"
            if config is None:
                config = _config_in(source, source, Path(scratch))
            _pack(source, archive, for_cpu=engine_name(parse_config(config, source.name)) == "pero")
        elif source.is_file():
            archive = source
        else:
            names = ", ".join(bundled)
            raise UsageError(f"there is no model {model}: name a folder, an archive or a bundled pipeline ({names})")
        # Refuse here whatever workers would refuse.
        unpack(archive, Path(scratch) / "unpacked")
        folder = content_folder(Path(scratch) / "unpacked")
        if config is None:
            config = _config_in(folder, model, Path(scratch))
        yield PackedModel(archive=archive, config=config, folder=folder)


def _config_in(folder: Path, model: Path, scratch: Path) -> str:
    try:
        stages = load_pipeline(str(folder), cache=scratch).stages
    except StageError as error:
        if (folder / "config.ini").exists() or (folder / "pipeline.toml").exists():
            raise
        raise UsageError(f"{model} holds no config.ini: name one with --config") from error
    if len(stages) > 1:
        names = ", ".join(stage.name for stage in stages)
        raise UsageError(f"{model} holds several stages ({names}): upload each one's folder as a stage of its own")
    return stages[0].config


def _pack(folder: Path, archive: Path, *, for_cpu: bool) -> None:
    """Packs files and folders and follows links. The same files make the same archive, byte for byte.

    With `for_cpu`, each network NAME.pt is also packed as NAME.pt.cpu, which pero-ocr opens when an upstream worker
    runs on a CPU.
    """

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info if info.isreg() or info.isdir() else None

    try:
        with (
            archive.open("wb") as file,
            gzip.GzipFile("", "wb", 1, file, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", dereference=True) as target,
        ):
            for path in sorted(folder.iterdir()):
                target.add(path, path.name, filter=plain)
            for path in sorted(folder.rglob("*.pt")) if for_cpu else ():
                variant = path.with_name(f"{path.name}.cpu")
                if path.is_file() and not variant.exists():
                    target.add(path, str(variant.relative_to(folder)), filter=plain)
    except OSError as error:
        raise UsageError(f"cannot pack {error.filename or folder}: {error.strerror or error}") from error


def digest_of(archive: Path) -> str:
    """Returns the SHA-256 in hexadecimal."""
    with archive.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedStage:
    """A stage whose model has been uploaded."""

    archive: str
    """Where it is in the store."""
    version: str
    """The stage's new version."""
    unchecked: str = ""
    """Why the model was not tried; '' = it was."""


def upload_stage(
    cluster: Cluster,
    store: StoreAccess,
    name: str,
    model: Path,
    now: datetime,
    *,
    config: str | None = None,
    path: str | None = None,
    version: str | None = None,
    check_seconds: float = DEFAULT_SECONDS,
    on_size: Callable[[int], object] = lambda _size: None,
    on_progress: Callable[[int], object] = lambda _sent: None,
) -> UploadedStage:
    """Uploads `model` (see `archive_of`) and creates or upgrades the stage `name` with it.

    Before anything is sent, the model is loaded in a separate process and tried on a page, for at most `check_seconds`
    seconds (0 = not tried).

    `path` is where it goes in the store, by default a new name. `on_size` is called with the number of bytes to be sent
    to each server, `on_progress` with those sent. Raises `UsageError` or `StageError`, before anything is sent, if the
    model or the name cannot be used, `TransientError` if a server is away.
    """
    check_name(name)
    with archive_of(model, config) as packed:
        archive, text = packed.archive, packed.config
        parse_config(text, name)
        unchecked = "" if check_seconds else "it was not to be"
        if check_seconds:
            tried = Stage(name=name, config=text, version="", directory=packed.folder)
            unchecked = try_stage(tried, seconds=check_seconds).reason
        mark = digest_of(archive)[:_MARK]
        # The only folder that clients may write to on the SFTP server of the generated set-up.
        target = path or f"models/{name}/{mark}{''.join(archive.suffixes[-2:])}"
        # Read first: an upload in place of the present archive changes what is recorded about it.
        before = read_version(cluster.zookeeper, name) if name in stage_names(cluster.zookeeper) else None
        on_size(archive.stat().st_size)
        digest = put_archive(cluster.zookeeper, target, archive, store, on_progress)
    change = StageChange(config=text, archive=target, version=version or mark, archive_digest=digest)
    save_stage(cluster.zookeeper, cluster.broker, name, change, now, before=before)
    return UploadedStage(archive=target, version=version or mark, unchecked=unchecked)


def put_archive(
    client: KazooClient,
    path: str,
    archive: Path,
    store: StoreAccess,
    on_progress: Callable[[int], object] = lambda _sent: None,
) -> str:
    """Uploads `archive` to `path` on every registered server, records its digest for the stages that use it, and
    returns it."""
    upload_archive(list_names(client, FTP), path, archive, store, on_progress)
    digest = digest_of(archive)
    renew_digest(client, path, digest)
    return digest


def upload_archive(
    servers: Sequence[str],
    path: str,
    archive: Path,
    access: StoreAccess,
    on_progress: Callable[[int], object] = lambda _sent: None,
) -> None:
    """Uploads to every registered server, as workers may ask any of them; a URL names its own. `on_progress` is called
    with the bytes sent to each server."""
    if is_url(path):
        upload("", path, archive, access, on_progress)
        return
    if not servers:
        raise UsageError("no model store is registered: pero-worker servers add ftp HOST[:PORT]")
    for server in servers:
        upload(server, path, archive, access, on_progress)
