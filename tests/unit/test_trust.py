"""Archives run nothing before someone has said that they may."""

from __future__ import annotations

import hashlib
import stat
import tarfile
from pathlib import Path

import pytest

from pero_worker.errors import OutputError, StageError, UsageError
from pero_worker.models.pipelines import load_pipeline
from pero_worker.models.store import ArchiveStore
from pero_worker.models.trust import TrustedArchives, is_digest, judge_by
from pero_worker.stage import Stage
from pero_worker.stores.location import StoreAccess, check_no_login


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.ini").write_text("[WORKER]\nDUMMY = 1\n")
    path = tmp_path / "model.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(folder / "config.ini", "config.ini")
    return path


def test_an_archive_is_refused_until_it_is_trusted_and_then_remembered(archive: Path, tmp_path: Path) -> None:
    trusted = TrustedArchives(tmp_path / "conf" / "trusted")

    def load(*, word: bool) -> object:
        return load_pipeline(str(archive), cache=tmp_path / "cache", judge=judge_by(trusted, word=word))

    with pytest.raises(StageError, match="--trust"):
        load(word=False)
    assert not (tmp_path / "cache").exists(), "nothing was unpacked"
    assert load(word=True) == load(word=False)
    assert stat.S_IMODE((tmp_path / "conf/trusted").stat().st_mode) == 0o600
    archive.write_bytes(archive.read_bytes() + bytes(512))
    with pytest.raises(StageError, match="--trust"):
        load(word=False)


def test_bundled_pipelines_and_folders_of_ones_own_need_no_word(archive: Path, tmp_path: Path) -> None:
    judge = judge_by(TrustedArchives(tmp_path / "none"), word=False)
    assert load_pipeline("print-latin", cache=tmp_path, judge=judge).stages
    assert load_pipeline(str(archive.parent / "model"), cache=tmp_path, judge=judge).stages


def test_a_name_cannot_forge_a_line(tmp_path: Path) -> None:
    trusted = TrustedArchives(tmp_path / "trusted")
    trusted.add("0" * 64, "evil\n" + "1" * 64)
    assert "0" * 64 in trusted and "1" * 64 not in trusted


def test_where_it_cannot_be_remembered_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot remember"):
        TrustedArchives(tmp_path / "file" / "trusted").add("0" * 64, "a")


def test_a_worker_takes_only_archives_that_are_pinned(archive: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    store = ArchiveStore(tmp_path / "cache", lambda: (), StoreAccess(), pinned_only=True)
    url = f"file://{archive}"
    with pytest.raises(StageError, match=r"no SHA-256 pins.*--trust-archives"):
        store.directory(Stage(name="a", config="x", version="1", archive=url))
    assert (
        store.directory(Stage(name="a", config="x", version="1", archive=url, archive_digest=digest)) / "config.ini"
    ).exists()
    assert store.directory(Stage(name="b", config="[WORKER]\n", version="1")).is_dir(), (
        "a stage without an archive needs none"
    )
    store.close()


@pytest.mark.parametrize(
    "url", ["ftp://bob:s3cr3t@host/m.tar", "sftp://bob@host/m", "https://a:p@ss@h/x", "s3://k:a/b@c/d"]
)
def test_a_login_does_not_get_into_a_stage(url: str) -> None:
    with pytest.raises(UsageError, match="login") as told:
        check_no_login(url)
    assert "s3cr3t" not in str(told.value) and "p@ss" not in str(told.value)


@pytest.mark.parametrize("url", ["models/a@b.tar", "ftp://host/a@b.tar", "https://host:8443/x@y", "file:///a@b"])
def test_an_at_sign_elsewhere_is_no_login(url: str) -> None:
    assert check_no_login(url) == url


def test_digests() -> None:
    assert is_digest("A" * 64) and not is_digest("a" * 63) and not is_digest("g" * 64)
