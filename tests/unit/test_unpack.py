"""What test_unpack_pipelines.py leaves out: archives that are odd rather than plainly hostile."""

from __future__ import annotations

import io
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.errors import StageError
from pero_worker.models.unpack import Limits, is_archive, unpack


def tar_bytes(mode: str, **files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info, content in members:
            archive.writestr(info, content)
    return buffer.getvalue()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    (tmp_path / "a.zip").write_bytes(zip_bytes((link, b"/etc/passwd")))
    with pytest.raises(StageError, match="link or device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_cannot_be_a_folder_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes("w", a=b"file", a__b=b"in it"))
    with pytest.raises(StageError, match=r"a\.tar"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_names_need_not_be_ascii(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes("w:gz", **{"váhy sítě.pt": b"1", "x" * 120: b"2"}))
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "váhy sítě.pt": b"1",
        "x" * 120: b"2",
    }


def test_limits_are_reached_only_beyond_them(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes("w", a=b"12345", b=b"67890"))
    unpack(tmp_path / "a.tar", tmp_path / "out", Limits(files=2, bytes=10))
    with pytest.raises(StageError, match="more than 1 files"):
        unpack(tmp_path / "a.tar", tmp_path / "other", Limits(files=1))
    with pytest.raises(StageError, match="more than 9 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "other", Limits(bytes=9))


def test_who_comes_second_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes("w", a=b"1"))
    unpack(tmp_path / "a.tar", tmp_path / "out")
    (tmp_path / "out/mark").touch()
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "mark"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "out"}


GOOD = [
    *(tar_bytes(mode, a__b=bytes(range(250)), c=b"text") for mode in ("w", "w:gz", "w:xz", "w:bz2")),
    zip_bytes(("a/b", bytes(range(250))), ("c", b"text")),
]


@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), max_size=4))
def test_damage_anywhere_ends_in_a_stage_error_or_in_files_within_the_limits(
    content: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with tempfile.TemporaryDirectory() as scratch:
        archive, out = Path(scratch) / "archive", Path(scratch) / "out"
        archive.write_bytes(damaged)
        is_archive(archive)
        try:
            unpack(archive, out, Limits(files=10, bytes=10_000))
        except StageError:
            assert list(Path(scratch).iterdir()) == [archive]
        else:
            assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) <= 10_000


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_bytes(("a", b"1")))
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(StageError, match="encrypted"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 50_000_000
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + b"0" * 1024)
    assert is_archive(tmp_path / "a.tar")
    with pytest.raises(StageError, match="header"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_a_target_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_bytes(("a", b"1")))
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match="cannot unpack"):
        unpack(tmp_path / "a.zip", tmp_path / "file/out")


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    """Networks are zips, and a search for a zip starts at the end."""
    archive = tmp_path / "model.tar"
    archive.write_bytes(tar_bytes("w", **{"config.ini": b"[WORKER]\n", "net.pt": zip_bytes(("data", b"weights"))}))
    assert zipfile.is_zipfile(archive) and is_archive(archive)
    unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.ini", "net.pt"]
