from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pero_worker.jobs import wholesync
from pero_worker.jobs.confined import ConfinedFolder
from pero_worker.jobs.wholesync import WholeSync


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def disk(folder: int, monkeypatch: pytest.MonkeyPatch, *, kind: str = "ext4", takes: float = 0.1) -> WholeSync:
    now = [0.0]

    def call(_descriptor: int) -> int:
        now[0] += takes
        return 0

    monkeypatch.setattr(wholesync, "_kind_of", lambda _folder: kind)
    monkeypatch.setattr(wholesync, "_syncfs", lambda: call)
    return WholeSync(folder, monotonic=lambda: now[0])


@pytest.mark.parametrize(("kind", "done"), [("ext4", True), ("xfs", True), ("nfs4", False), ("fuse.sshfs", False)])
def test_only_disks_of_this_machine_are_synced_whole(
    folder: int, kind: str, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert disk(folder, monkeypatch, kind=kind).sync() is done


def test_a_disk_on_which_others_write_much_is_not_waited_for_again(
    folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = disk(folder, monkeypatch, takes=1.5)
    assert [busy.sync(), busy.sync()] == [True, False]
    quiet = disk(folder, monkeypatch)
    assert [quiet.sync(), quiet.sync()] == [True, True]


def test_what_could_not_be_written_is_said(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholesync, "_kind_of", lambda _folder: "ext4")
    whole = WholeSync(folder)
    whole._descriptor = 1_000_000  # As the system reports a bad file descriptor.
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        whole.sync()
    assert raised.value.errno == errno.EBADF


def test_few_files_are_synced_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[int] = []
    single: list[int] = []
    monkeypatch.setattr(WholeSync, "sync", lambda _disk: whole.append(1) or True)
    monkeypatch.setattr(os, "fsync", single.append)
    with closing(ConfinedFolder(tmp_path)) as here:
        names = [(f"{number}",) for number in range(40)]
        for name in names:
            here.create(name).close()
        here.sync_all(names[:5], [()])
        assert (len(whole), len(single)) == (0, 6)
        here.sync_all(names, [()])
    assert (len(whole), len(single)) == (1, 6)
