"""A power cut at any moment: what was called done, and what a cluster was told to forget, is there and whole.

The calls that reach the disk are recorded. After each of them, two worlds that a power cut may leave are examined: one
with only the names that were synced, and one with all names but only the contents that were synced.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from unit.test_layouts import REQUEST
from unit.test_run import Listener, Workforce

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.download import DownloadCounts, Layout, download
from pero_worker.cluster.pages.requestfolders import RequestFolders
from pero_worker.cluster.pages.resulttree import ResultTree
from pero_worker.inputs.discover import discover
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.run import run
from pero_worker.jobs.wholesync import WholeSync
from pero_worker.jobs.workforce import PageOutcome
from pero_worker.wire.requests import encode_request
from pero_worker.work import Delivery, QueueState

World = dict[str, bytes]


class Disk:
    """What is on the disk below `root` for sure, by the calls that were made; `root`'s parent is there already."""

    def __init__(
        self, root: Path, check: Callable[[World], None], patch: pytest.MonkeyPatch, *, whole: bool = False
    ) -> None:
        """`whole` means that it can be synced in one go."""
        self.root = root
        self.synced_whole = 0
        self._check = check
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._guard = threading.RLock()
        self.calls = 0
        for name in ("rename", "replace", "mkdir", "unlink", "rmdir"):
            patch.setattr(os, name, self._watched(getattr(os, name)))
        patch.setattr(os, "fsync", self._fsync)
        patch.setattr(WholeSync, "sync", lambda _disk: whole and self._sync_all())
        patch.setattr(os, "open", self._opening(os.open))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            with self._guard:
                result = call(*arguments, **options)
                if call.__name__ == "mkdir":
                    self._names.pop(os.stat(arguments[0], dir_fd=options.get("dir_fd")).st_ino, None)
                self.look()
                return result

        return watched

    def _opening(self, call: Callable[..., int]) -> Callable[..., int]:
        """A new file may have the number of one that is gone, whose content it has not."""

        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            with self._guard:
                descriptor = call(path, flags, *arguments, **options)
                if flags & os.O_CREAT and not os.fstat(descriptor).st_size:
                    self._contents.pop(os.fstat(descriptor).st_ino, None)
                return descriptor

        return opened

    def _fsync(self, descriptor: int) -> None:
        with self._guard:
            found = os.fstat(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}")
            if stat.S_ISDIR(found.st_mode):
                names = {entry.name: entry.inode() for entry in os.scandir(path)}
                self._names[found.st_ino] = names
            else:
                self._contents[found.st_ino] = path.read_bytes()
            self.look()

    def _sync_all(self) -> bool:
        with self._guard:
            for path in (self.root, *self.root.rglob("*")):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    self._fsync(descriptor)
                finally:
                    os.close(descriptor)
            self.synced_whole += 1
        return True

    def look(self) -> None:
        """Examines both worlds."""
        self.calls += 1
        self._check(dict(self._synced(self.root.parent.stat().st_ino, self.root.name, "")))
        self._check(dict(self._named()))

    def _synced(self, folder: int, only: str, prefix: str) -> Iterator[tuple[str, bytes]]:
        for name, inode in self._names.get(folder, {}).items():
            if only and name != only:
                continue
            path = "" if only else f"{prefix}{name}"
            if inode in self._names:
                yield from self._synced(inode, "", f"{path}/" if path else "")
            elif inode in self._contents:
                yield path, self._contents[inode]
            else:
                yield path, b""

    def _named(self) -> Iterator[tuple[str, bytes]]:
        for path in self.root.rglob("*") if self.root.exists() else ():
            if path.is_file():
                yield path.relative_to(self.root).as_posix(), self._contents.get(path.stat().st_ino, b"")


class Promises:
    """What was reported to others, and what must then exist."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.broken: list[str] = []

    def check_report(self, world: World) -> None:
        told = {}
        for line in world.get("report.jsonl", b"").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            told[record["page_id"] or record["page"]] = record
            pages = [path for kind, path in record["outputs"].items() if kind in {"page", "text"}]
            for path in pages:
                content = world.get(path, b"")
                if not content.rstrip().endswith((b"</PcGts>", b"line")):
                    self.broken.append(f"{path} is called done and holds {content[-20:]!r}")
        for page in self.acknowledged:
            if page not in told:
                self.broken.append(f"{page} was acknowledged and is not in the report")
        self.check_whole(world)

    def check_whole(self, world: World) -> None:
        """Checks that no file is half-written under its own name."""
        for path, content in world.items():
            if path.endswith(".page.xml") and not content.rstrip().endswith(b"</PcGts>"):
                self.broken.append(f"{path} holds {content[-20:]!r}")
            if path.endswith(".pdf") and not content.rstrip().endswith(b"%%EOF"):
                self.broken.append(f"{path} holds {content[-20:]!r}")

    def check_folders(self, world: World) -> None:
        for page in self.acknowledged:
            if world.get(f"{page}/a.png") != b"image" or not world.get(f"{page}/{page}_info.txt", b"").startswith(
                b"Mess"
            ):
                self.broken.append(f"{page} was acknowledged and is not there")
        for path, content in world.items():
            if path.endswith("a.png") and not path.startswith(".") and content != b"image":
                self.broken.append(f"{path} holds {content!r}")


class Broker(MemoryBroker):
    """Behaves like RabbitMQ's, to the extent that a download needs it."""

    def __init__(self, promises: Promises, pages: Sequence[str]) -> None:
        super().__init__(["out"])
        self._promises = promises
        self._pages: dict[int, str] = {}
        for page in pages:
            self.publish("out", encode_request(replace(REQUEST, uuid=page, page_uuid=page, source=f"box/{page}")))
        self._order = iter(pages)

    def get(self, queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        delivery = super().get(queues, consumer, 0)
        if delivery is not None:
            self._pages[delivery.tag] = next(self._order)
        return delivery

    def ack(self, delivery: Delivery) -> None:
        self._promises.acknowledged.append(self._pages[delivery.tag])
        super().ack(delivery)

    def state(self, queue: str) -> QueueState | None:
        return None

    @property
    def has_arrivals(self) -> bool:
        return False

    def fetch_ahead(self, messages: int) -> None:
        pass


@pytest.mark.parametrize(("layout", "whole"), [("tree", False), ("requests", False), ("requests", True)])
def test_a_download(layout: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promises = Promises()
    pages = [f"p{number}" for number in range(40)]
    broker = Broker(promises, pages)
    with monkeypatch.context() as patch:
        check = promises.check_report if layout == "tree" else promises.check_folders
        disk = Disk(tmp_path / "deep" / "out", check, patch, whole=whole)
        writer: Layout
        if layout == "tree":
            writer = ResultTree(OutputFolder(disk.root), ("page",), SystemClock())
        else:
            writer = RequestFolders(disk.root)
        with closing(writer):
            download(
                broker,  # type: ignore[arg-type]
                "out",
                writer,
                SystemClock(),
                keep_running=False,
                stopped=threading.Event(),
                downloaded=DownloadCounts(),
            )
        disk.look()
    assert promises.acknowledged == pages and disk.calls > 40
    assert (disk.synced_whole > 0) is whole
    assert promises.broken == []


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, searchable PDFs, and a second run that makes the report shorter."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(20):
        Image.new("L", (20, 10)).save(scans / f"{number}.png")
    promises = Promises()

    class Settling(Workforce):
        def hand_in(self, page_id: str, task: Any) -> None:
            super().hand_in(page_id, task)
            outcome = self.in_hand.pop()
            settle = lambda: promises.acknowledged.append(task.name)  # noqa: E731
            self.in_hand.append(PageOutcome(page_id=page_id, request=outcome.request, settle=settle))

    with monkeypatch.context() as patch:
        disk = Disk(tmp_path / "out", promises.check_report, patch)
        for formats, failing in ((("page", "pdf"), {"3": b"<no"}), (("page", "pdf"), {})):
            documents = discover([str(scans)]).documents
            with closing(OutputFolder(disk.root)) as folder:
                options = RunOptions(formats=formats)
                run(documents, Settling(failing), folder, options, Listener(), SystemClock())
        disk.look()
    assert sorted(promises.acknowledged) == sorted([*map(str, range(20)), "3"]) and disk.calls > 60
    assert promises.broken == []
    assert len((tmp_path / "out/report.jsonl").read_text().splitlines()) == 20
