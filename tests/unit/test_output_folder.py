"""The output folder by itself: what is whole, what a failed write says and leaves, what a second write of one name does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from pero_worker.errors import OutputError, PageError
from pero_worker.jobs import outputs
from pero_worker.jobs.confined import ConfinedFolder
from pero_worker.jobs.outputs import OutputFolder, ResultPathError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputFolder]:
    with closing(OutputFolder(tmp_path / "out")) as folder:
        yield folder


def failing(code: int) -> Callable[..., None]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def drafts(folder: OutputFolder) -> list[str]:
    return [path.name for path in (folder.root / ".pero-worker" / "unfinished").iterdir()]


@pytest.mark.parametrize(
    ("content", "whole"),
    [(b"text", True), (b"a\0", False), (b"\0a", True), (b"\0", False), (b"\0\0\0", False), (b"a", True), (b"", False)],
)
def test_a_file_is_whole_unless_it_is_empty_or_torn(folder: OutputFolder, content: bytes, whole: bool) -> None:
    (folder.root / "a.txt").write_bytes(content)
    assert folder.is_whole("a.txt") is whole
    assert folder.is_whole("a.txt", empty=True) is (whole or not content)
    assert not folder.is_whole("b.txt", empty=True)


def test_the_second_write_of_a_name_takes_the_place_of_the_first(folder: OutputFolder) -> None:
    target, other = folder.path("a", ".txt"), folder.path("b", ".txt")
    folder.write(target, b"first")
    folder.write(other, b"other")
    folder.write(target, b"second")
    assert len(drafts(folder)) == 2
    folder.commit()
    assert (target.read_bytes(), other.read_bytes()) == (b"second", b"other")
    assert drafts(folder) == []
    folder.commit()


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("code", "kind", "why"),
    [
        (errno.ENAMETOOLONG, ResultPathError, "the name is too long"),
        (errno.EISDIR, ResultPathError, "a folder has this name"),
        (errno.ENOSPC, OutputError, os.strerror(errno.ENOSPC)),
        (errno.EIO, OutputError, os.strerror(errno.EIO)),
        # The folder itself can be written.
        (errno.EACCES, ResultPathError, os.strerror(errno.EACCES)),
    ],
)
def test_what_cannot_be_written_is_named_with_the_reason(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch, at_once: bool, code: int, kind: type[Exception], why: str
) -> None:
    monkeypatch.setattr(ConfinedFolder, "create", failing(code))
    target = folder.path("box/a", ".txt")
    with pytest.raises(kind) as found:
        if at_once:
            folder.write_with(target, lambda stream: stream.write(b"x"))
        else:
            folder.write(target, b"x")
    assert str(found.value) == f"cannot write {target}: {why}"
    assert getattr(found.value, "permanent", True), "the same again would fail again"
    assert drafts(folder) == []


def test_a_move_that_fails_is_named_and_leaves_no_draft(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    target = folder.path("a", ".txt")
    monkeypatch.setattr(ConfinedFolder, "move", failing(errno.EROFS))
    with pytest.raises(ResultPathError) as at_once:
        folder.write_with(target, lambda stream: stream.write(b"x"))
    folder.write(target, b"x")
    with pytest.raises(OutputError) as together:
        folder.commit()
    expected = f"cannot write {target}: {os.strerror(errno.EROFS)}"
    assert str(at_once.value) == str(together.value) == expected
    assert drafts(folder) == [] and not target.exists()


def test_a_result_in_the_place_of_a_folder_that_is_to_come_says_so(folder: OutputFolder) -> None:
    folder.write(folder.path("a", ".txt"), b"x")
    below = folder.path("a.txt/b", ".txt")
    with pytest.raises(ResultPathError) as found:
        folder.write(below, b"y")
    assert str(found.value) == f"cannot write {below}: a folder on the way is a file or a link"
    (folder.root / "c.txt").mkdir()
    with pytest.raises(ResultPathError) as found:
        folder.write(folder.path("c", ".txt"), b"x")
    assert str(found.value) == f"cannot write {folder.path('c', '.txt')}: a folder has this name"


def test_what_cannot_be_read_for_a_result_is_the_pages_fault_for_good(folder: OutputFolder, tmp_path: Path) -> None:
    def fill(stream: IO[bytes]) -> None:
        stream.write((tmp_path / "gone.png").read_bytes())

    with pytest.raises(PageError) as found:
        folder.write_with(folder.path("a", ".pdf"), fill)
    assert str(found.value) == f"cannot read {tmp_path / 'gone.png'}: No such file or directory"
    assert found.value.permanent and not isinstance(found.value, OutputError)
    assert drafts(folder) == []


def test_an_error_without_a_number_says_what_it_says(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError("odd")

    monkeypatch.setattr(ConfinedFolder, "create", fail)
    with pytest.raises(OutputError, match=r": odd$"):
        folder.write(folder.path("a", ".txt"), b"x")
    assert outputs.is_name_problem(OSError(errno.EILSEQ, "")) and not outputs.is_name_problem(OSError("odd"))


@pytest.mark.parametrize("name", ["", "/etc/a", "../a", "a/../../b"])
def test_no_path_leads_outside(folder: OutputFolder, name: str) -> None:
    with pytest.raises(OutputError, match="points outside"):
        folder.path(name, ".txt")
