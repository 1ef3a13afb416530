"""Where files are kept: scans and results below one folder, named only by ids, so no name from a client becomes a
path."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pero_worker.errors import OutputError


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFolder:
    """The layout of the data folder.

    `jobs/JOB/IMAGE.jpg` is a scan, whatever its image format, next to the `.alto.xml` and `.page.xml` that came with
    it; `jobs/JOB/IMAGE.out.FORMAT` are results, and `jobs/JOB/IMAGE.view.WIDTH.jpg` are scans as browsers show them.
    """

    root: Path
    """The folder that holds all of this."""

    def create(self) -> None:
        """Creates the folders; raises `OutputError` if the data folder cannot be written to."""
        try:
            for name in ("jobs", "results", "artifacts", "engines", "uploads", "unfinished"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to the data folder {self.root}: {error.strerror}") from error

    def server_secret(self) -> str:
        """Returns the secret that keys are hashed with; it is created at the first call, readable only by the owner."""
        path = self.root / "secret"
        try:
            if not path.exists():
                with self.unfinished() as fresh:
                    fresh.touch(mode=0o600)
                    fresh.write_text(secrets.token_hex(32))
                    with suppress(FileExistsError):  # Another gateway was quicker.
                        os.link(fresh, path)
            return path.read_text().strip()
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror}") from error

    def job(self, job: str) -> Path:
        return self.root / "jobs" / job

    def image(self, job: str, page: str) -> Path:
        return self.job(job) / f"{page}.jpg"

    def alto(self, job: str, page: str) -> Path:
        return self.job(job) / f"{page}.alto.xml"

    def page_xml(self, job: str, page: str) -> Path:
        return self.job(job) / f"{page}.page.xml"

    def metadata(self, job: str) -> Path:
        return self.job(job) / "meta.json"

    def page_result(self, job: str, page: str, kind: str) -> Path:
        return self.job(job) / f"{page}.out.{kind}"

    def view(self, job: str, page: str, width: int) -> Path:
        """Returns the path of the scan as a browser shows it."""
        return self.job(job) / f"{page}.view.{width}.jpg"

    def result(self, job: str) -> Path:
        return self.root / "results" / f"{job}.zip"

    def artifacts(self, job: str) -> Path:
        return self.root / "artifacts" / f"{job}.zip"

    def engine(self, engine: str) -> Path:
        return self.root / "engines" / f"{engine}.zip"

    def upload(self, upload: str) -> Path:
        return self.root / "uploads" / upload

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """Yields a path for a file in the making; if it is still there at the end, it is removed."""
        path = self.root / "unfinished" / secrets.token_hex(12)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Writes a file in the making and syncs it to disk; raises `OutputError` if that fails, as on a full disk."""
        try:
            with path.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"cannot write to {self.root}: {error.strerror or error}") from error

    def put(self, target: Path, content: bytes) -> None:
        """Writes a small file atomically; raises `OutputError` if that fails, as on a full disk."""
        with self.unfinished() as path:
            self.write(path, content)
            self.place(path, target)

    def place(self, finished: Path, target: Path) -> None:
        """Moves a finished file into place, synced to disk first so that it survives a power cut; raises `OutputError`
        if it cannot be moved."""
        try:
            descriptor = os.open(finished, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            target.parent.mkdir(exist_ok=True)
            finished.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error

    def forget_job(self, job: str) -> None:
        """Removes all files of a job."""
        shutil.rmtree(self.job(job), ignore_errors=True)
        for path in (self.result(job), self.artifacts(job)):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes unfinished files of a killed process; call it only if no other gateway uses the folder."""
        for path in (self.root / "unfinished").iterdir():
            path.unlink(missing_ok=True)
