"""Where files lie: scans and results below one folder, named by ids alone, so that no name of a client's is a path."""

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
    """`jobs/JOB/IMAGE.jpg`, whatever kind of image it is, beside `.alto.xml` and `.page.xml` that came with it;
    `jobs/JOB/IMAGE.out.FORMAT` are results, `jobs/JOB/IMAGE.view.WIDTH.jpg` scans as browsers show them."""

    root: Path
    """The folder that all of this lies in."""

    def create(self) -> None:
        """OutputError: it cannot be written to."""
        try:
            for name in ("jobs", "results", "artifacts", "engines", "uploads", "unfinished"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to the data folder {self.root}: {error.strerror}") from error

    def server_secret(self) -> str:
        """What keys are hashed with; made at the first call, readable for the owner alone."""
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
        """The scan as a browser shows it."""
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
        """A path for a file that is being made; what is still there at the end goes."""
        path = self.root / "unfinished" / secrets.token_hex(12)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Fills a file that is being made; it is on the disk then. OutputError: that is full."""
        try:
            with path.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"cannot write to {self.root}: {error.strerror or error}") from error

    def put(self, target: Path, content: bytes) -> None:
        """Writes a small file, whole or not at all. OutputError: the disk is full."""
        with self.unfinished() as path:
            self.write(path, content)
            self.place(path, target)

    def place(self, finished: Path, target: Path) -> None:
        """Moves a finished file to where it belongs; from then on it is there after a power cut, too. OutputError: it
        cannot be."""
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
        """All files of a job."""
        shutil.rmtree(self.job(job), ignore_errors=True)
        for path in (self.result(job), self.artifacts(job)):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Half-made files of a process that was killed; only when no other gateway uses the folder."""
        for path in (self.root / "unfinished").iterdir():
            path.unlink(missing_ok=True)
