"""Model folders and archives on their way into the store."""

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
"""Hexadecimal digits of an archive's digest that name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedModel:
    """A model as it goes into the store."""

    archive: Path
    """The file."""
    config: str
    """The text of its config.ini."""
    folder: Path
    """The same unpacked, as a worker will have it."""


@contextmanager
def archive_of(model: Path, config: str | None = None) -> Iterator[PackedModel]:
    """An archive of `model`, which may be the name of a bundled pipeline, and its config.ini unless one is given; a
    folder is packed for the while. UsageError: there is no such model, or it does not say what the stage does."""
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
        # What workers would refuse is refused here.
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
    """Files and folders, links followed; the same files make the same archive, to the byte.

    `for_cpu`: beside each network NAME.pt lies NAME.pt.cpu, which pero-ocr opens in a worker of upstream's on a CPU.
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
    """SHA-256 in hexadecimal."""
    with archive.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedStage:
    """A stage whose model was put into the store."""

    archive: str
    """Where it lies in the store."""
    version: str
    """Of the stage now."""
    unchecked: str = ""
    """Why nobody has tried it; '' = it was tried."""


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
    """Puts `model` (see `archive_of`) into the store and creates or upgrades the stage `name` with it.

    Before anything is sent, the model is loaded in a process of its own and tried on a page; `check_seconds`: how long
    that may take, 0 = it is not tried.

    `path`: where in the store, by default a new name; `on_size` is told how many bytes will be sent to each server,
    `on_progress` how many are. UsageError, StageError: the model or the name cannot be used; nothing was sent then.
    TransientError: a server is away.
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
        # The one folder that the SFTP server of set-up lets its clients write in.
        target = path or f"models/{name}/{mark}{''.join(archive.suffixes[-2:])}"
        # Putting another archive in the place of the present one changes what is known of that.
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
    """Puts `archive` at `path` on every registered server; its digest, which stages that use it know from now on."""
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
    """To every registered server, as workers may ask any of them; a URL names its own. `on_progress`: bytes sent to
    one of them."""
    if is_url(path):
        upload("", path, archive, access, on_progress)
        return
    if not servers:
        raise UsageError("no model store is registered: pero-worker servers add ftp HOST[:PORT]")
    for server in servers:
        upload(server, path, archive, access, on_progress)
