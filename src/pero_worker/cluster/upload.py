"""Model folders and archives on their way into the store."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pero_worker.errors import StageError, UsageError
from pero_worker.models.location import StoreAccess, is_url
from pero_worker.models.pipelines import load_pipeline
from pero_worker.models.remote import upload


@contextmanager
def archive_of(model: Path) -> Iterator[tuple[Path, str | None]]:
    """An archive of `model` and the text of its config.ini, None when it has none; a folder is packed for the while."""
    with tempfile.TemporaryDirectory(prefix="pero-upload-") as scratch:
        if model.is_dir():
            archive = Path(scratch) / "model.tar.gz"
            with tarfile.open(archive, "w:gz", compresslevel=1) as target:
                for path in sorted(model.iterdir()):
                    target.add(path, path.name)
        elif model.is_file():
            archive = model
        else:
            raise UsageError(f"there is no model {model}")
        try:
            stages = load_pipeline(str(archive), cache=Path(scratch) / "unpacked").stages
        except StageError as error:
            if "config.ini" not in str(error):
                raise
            stages = ()
        yield archive, stages[0].config if len(stages) == 1 else None


def digest_of(archive: Path) -> str:
    """SHA-256 in hexadecimal."""
    with archive.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def upload_archive(servers: Sequence[str], path: str, archive: Path, access: StoreAccess) -> None:
    """To every registered server, as workers may ask any of them; a URL names its own."""
    if is_url(path):
        upload("", path, archive, access)
        return
    if not servers:
        raise UsageError("no model store is registered: pero-worker servers add ftp HOST[:PORT]")
    for server in servers:
        upload(server, path, archive, access)
