"""The machine's cache of model archives, and the names of places in model stores."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pero_worker.errors import StageError, TransientError, UsageError
from pero_worker.models.entries import Entry
from pero_worker.models.keep import Keep
from pero_worker.models.store import ArchiveStore
from pero_worker.models.unpack import Limits
from pero_worker.stage import Stage
from pero_worker.stores.location import locate, without_login
from pero_worker.stores.remote import StoreAccess, fetch, remove, upload


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[ArchiveStore]:
    store = opened(tmp_path, clock)
    yield store
    store.close()


def opened(tmp_path: Path, clock: Clock | None = None) -> ArchiveStore:
    return ArchiveStore(tmp_path / "cache", lambda: (), StoreAccess(), clock=clock, limits=Limits(bytes=1_000_000))


def packed(path: Path, files: dict[str, str]) -> str:
    """The URL of an archive made of `files`."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return f"file://{path}"


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("*/*") if path.suffix not in {".lock", ".sha256"})


def test_a_stage_without_archive_is_its_configuration(store: ArchiveStore, tmp_path: Path) -> None:
    folder = store.directory(Stage(name="dummy stage/ß", config="[WORKER]\nDUMMY = yes\n", version=""))
    assert files(folder) == {"config.ini": "[WORKER]\nDUMMY = yes\n"}
    assert folder.parent == tmp_path / "cache" / "dummy_stage__"
    assert store.directory(Stage(name="dummy stage/ß", config="[WORKER]\nDUMMY = yes\n", version="")) == folder


def test_a_stage_that_is_here_already_stays(store: ArchiveStore, tmp_path: Path) -> None:
    assert store.directory(Stage(name="ocr", config="", version="1", directory=tmp_path)) == tmp_path


def test_the_coordinators_configuration_wins(store: ArchiveStore, tmp_path: Path) -> None:
    url = packed(tmp_path / "a.tar.gz", {"config.ini": "old", "model.bin": "weights"})
    assert files(store.directory(Stage(name="ocr", config="new", version="1", archive=url))) == {
        "config.ini": "new",
        "model.bin": "weights",
    }
    assert files(store.directory(Stage(name="ocr", config="", version="1", archive=url))) == {
        "config.ini": "old",
        "model.bin": "weights",
    }


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ("[OCR]\nOCR_JSON = ./ocr.json\n", {"config.ini", "ocr.json", "sub/x"}),
        ("[OCR]\nOCR_JSON = ./ocr_v2/ocr.json\n", {"config.ini", "ocr_v2/ocr.json", "ocr_v2/sub/x", "._mac"}),
    ],
)
def test_a_single_folder_is_the_top_unless_the_configuration_names_it(
    config: str, found: set[str], store: ArchiveStore, tmp_path: Path
) -> None:
    url = packed(tmp_path / "a.tar.gz", {"ocr_v2/ocr.json": "{}", "ocr_v2/sub/x": "", "._mac": ""})
    assert set(files(store.directory(Stage(name="ocr", config=config, version="1", archive=url)))) == found


def test_an_archive_is_fetched_again_when_anything_of_the_stage_changed(store: ArchiveStore, tmp_path: Path) -> None:
    url = packed(tmp_path / "a.tar.gz", {"model.bin": "first"})
    stage = Stage(name="ocr", config="[A]", version="1", archive=url)
    first = store.directory(stage)
    packed(tmp_path / "a.tar.gz", {"model.bin": "second"})
    assert store.directory(stage) == first
    for changed in (
        replace(stage, version="2"),
        replace(stage, config="[B]"),
        replace(stage, archive=f"file://localhost{tmp_path}/a.tar.gz"),
        replace(stage, archive_digest=hashlib.sha256((tmp_path / "a.tar.gz").read_bytes()).hexdigest()),
    ):
        assert (store.directory(changed) / "model.bin").read_text() == "second"
    assert (store.directory(stage) / "model.bin").read_text() == "first"
    assert len(names(tmp_path)) == 5


def test_without_a_version_an_archive_is_fetched_every_time(store: ArchiveStore, tmp_path: Path) -> None:
    stage = Stage(name="ocr", config="[A]", version="", archive=packed(tmp_path / "a.tar.gz", {"model.bin": "first"}))
    first, other = store.directory(stage), opened(tmp_path)
    packed(tmp_path / "a.tar.gz", {"model.bin": "second"})
    assert (other.directory(stage) / "model.bin").read_text() == "second"
    assert (first / "model.bin").read_text() == "first"
    assert (store.directory(stage) / "model.bin").read_text() == "second"
    assert not first.exists()
    other.close()
    store.release("ocr")
    assert not names(tmp_path)


def test_a_wrong_digest_is_refused(store: ArchiveStore, tmp_path: Path) -> None:
    url = packed(tmp_path / "a.tar.gz", {"model.bin": "x"})
    with pytest.raises(StageError, match=r"SHA-256 is .* the stage expects 00"):
        store.directory(Stage(name="ocr", config="", version="1", archive=url, archive_digest="0" * 64))
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"../../evil": "x"}, "points outside"),
        ({"model.bin": "0" * 2_000_000}, "more than 1000000 bytes"),
        ({"config.ini/x": ""}, "config.ini is a folder"),
        (None, "cannot be unpacked"),
    ],
)
def test_bad_archives_leave_nothing(
    content: dict[str, str] | None, message: str, store: ArchiveStore, tmp_path: Path
) -> None:
    url = packed(tmp_path / "a.tar.gz", content or {})
    if content is None:
        (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    with pytest.raises(StageError, match=message):
        store.directory(Stage(name="ocr", config="[A]", version="1", archive=url))
    assert not names(tmp_path)
    packed(tmp_path / "a.tar.gz", {"model.bin": "repaired"})
    assert (
        store.directory(Stage(name="ocr", config="[A]", version="1", archive=url)) / "model.bin"
    ).read_text() == "repaired"


def test_servers_are_asked_anew_and_none_is_transient(tmp_path: Path) -> None:
    servers: list[str] = []
    packed(tmp_path / "a.tar.gz", {"model.bin": "x"})
    store = ArchiveStore(tmp_path / "cache", lambda: servers, StoreAccess())
    with pytest.raises(TransientError, match=r"no model store has been named yet: a.tar.gz"):
        store.directory(Stage(name="ocr", config="", version="1", archive="a.tar.gz"))
    servers.append(f"file://{tmp_path}")
    assert (store.directory(Stage(name="ocr", config="", version="1", archive="a.tar.gz")) / "model.bin").exists()
    store.close()


def test_what_a_crash_left_is_removed_at_the_next_start(store: ArchiveStore, tmp_path: Path) -> None:
    finished = store.directory(Stage(name="ocr", config="[A]", version="1"))
    place = finished.parent
    for key in ("unfinished", finished.name):
        (place / f"{key}.tmp/unpacked").mkdir(parents=True)
        (place / f"{key}.lock").touch()
    (place / "0123-once-4567").mkdir()
    (place / "0123-once-4567.lock").touch()
    with (place / "making.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (place / "making.tmp").mkdir()
        opened(tmp_path)
        assert names(tmp_path) == sorted([finished.name, f"{finished.name}.tmp", "making.tmp"])
    store.close()
    opened(tmp_path)
    assert names(tmp_path) == [finished.name]
    assert {path.name for path in place.iterdir()} == {
        f"{finished.name}{suffix}" for suffix in ("", ".lock", ".sha256")
    }


def test_a_crash_while_making_is_made_good(tmp_path: Path) -> None:
    def crash(folder: Path) -> Path:
        (folder / "half").touch()
        os.rename(folder, tmp_path / "ocr/key.stolen")  # noqa: PTH104 - as if nothing cleaned up behind it
        raise KeyboardInterrupt

    def make(folder: Path) -> Path:
        assert not list(folder.iterdir())
        (folder / "done").mkdir()
        return folder / "done"

    entry = Entry(place=tmp_path / "ocr", key="key")
    with pytest.raises(KeyboardInterrupt):
        entry.hold(crash)
    (tmp_path / "ocr/key.stolen").rename(tmp_path / "ocr/key.tmp")
    hold = entry.hold(make)
    assert entry.folder.is_dir()
    assert not entry.remove_unused()
    hold.release()
    assert entry.remove_unused()
    assert not list((tmp_path / "ocr").iterdir())


def test_cleaning_by_age_spares_what_is_in_use(store: ArchiveStore, clock: Clock, tmp_path: Path) -> None:
    old, used = (
        store.directory(Stage(name="old", config="[A]", version="1")),
        store.directory(Stage(name="used", config="[A]", version="1")),
    )
    store.release("old")
    clock.sleep(3600)
    new = store.directory(Stage(name="new", config="[A]", version="1"))
    store.release("new")
    assert store.clean(Keep(age=timedelta(hours=2))) == ()
    assert store.clean(Keep(age=timedelta(minutes=59))) == (f"old/{old.name}",)
    assert (old.exists(), used.exists(), new.exists()) == (False, True, True)
    store.release("used")
    assert store.clean(Keep(age=timedelta(minutes=59))) == ()  # used until now
    clock.sleep(3600)
    assert len(store.clean(Keep(age=timedelta(minutes=59)))) == 2
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_cleaning_by_size_takes_the_least_recently_used(store: ArchiveStore, clock: Clock) -> None:
    folders: dict[str, Path] = {}
    for name in ("a", "b", "c", "d"):
        folders[name] = store.directory(Stage(name=name, config="0" * 1000, version="1"))
        clock.sleep(1)
    for name in ("d", "b", "c"):
        store.release(name)
        clock.sleep(1)
    assert store.clean(Keep(bytes=4000)) == ()
    assert store.clean(Keep(bytes=2500)) == (f"d/{folders['d'].name}", f"b/{folders['b'].name}")
    assert store.clean(Keep(bytes=0)) == (f"c/{folders['c'].name}",)
    assert folders["a"].exists()


@pytest.mark.parametrize(("keep", "left"), [(Keep(bytes=2500), 2), (Keep(age=timedelta(seconds=90)), 3)])
def test_a_store_that_goes_on_for_long_stays_within_its_bounds(
    tmp_path: Path, clock: Clock, keep: Keep, left: int
) -> None:
    """A worker lives for months, and stages come in new versions: a minute apart here, a thousand bytes each."""
    store = ArchiveStore(tmp_path / "cache", lambda: (), StoreAccess(), clock=clock, keep=keep)
    archive = packed(tmp_path / "a.tar.gz", {"model": "0" * 1000})
    for version in ("1", "2", "3", "4", "5"):
        assert store.directory(Stage(name="ocr", config="[A]", version=version, archive=archive)).is_dir()
        clock.sleep(60)
    store.close()
    assert len(names(tmp_path)) == left


def test_what_another_user_laid_into_the_cache_is_not_used(
    store: ArchiveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(name="ocr", config="", version="1", archive=packed(tmp_path / "a.tgz", {"config.ini": "[A]"}))
    folder = store.directory(stage)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    if folder.stat().st_uid:
        with pytest.raises(StageError, match="belongs to another user"):
            store.directory(stage)
    monkeypatch.undo()
    assert store.directory(stage) == folder
    folder.chmod(0o777)
    with pytest.raises(StageError, match="anybody may change it"):
        store.directory(stage)
    folder.chmod(0o755)
    moved = folder.rename(tmp_path / "moved")
    folder.symlink_to(moved)
    with pytest.raises(StageError, match="belongs to another user"):
        store.directory(stage)


@pytest.mark.parametrize("damage", ["other bytes", "gone", "a link", "no digests", "strange digests"])
def test_what_was_changed_in_the_cache_is_made_again(
    store: ArchiveStore, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(name="ocr", version="1", config="x=1", archive=packed(tmp_path / "a.tar.gz", {"m.pt": "weights"}))
    folder = store.directory(stage)
    store.close()
    model, was = folder / "m.pt", (folder / "m.pt").stat()
    [digests] = folder.parent.glob("*.sha256")
    match damage:
        case "other bytes":
            model.write_text("WEIGHTS")
            os.utime(model, ns=(was.st_atime_ns, was.st_mtime_ns))
        case "gone":
            model.unlink()
        case "a link":
            model.unlink()
            model.symlink_to("/etc/hostname")
        case "no digests":
            digests.unlink()
        case "strange digests":
            digests.write_text("[" * 100_000)
    (folder / "notes of a plugin").write_text("may come")
    with opened_again(tmp_path) as again:
        assert (again.directory(stage) / "m.pt").read_text() == "weights"
        assert "is made again" in caplog.text
        caplog.clear()
        (folder / "notes of a plugin").write_text("may come")
        again.directory(stage)
        assert caplog.text == ""
    assert [path.suffix for path in sorted(folder.parent.iterdir())] == ["", ".lock", ".sha256"]


def test_what_was_changed_in_the_cache_and_is_in_use_is_refused(store: ArchiveStore, tmp_path: Path) -> None:
    stage = Stage(name="ocr", version="1", config="x=1", archive=packed(tmp_path / "a.tar.gz", {"m.pt": "weights"}))
    (store.directory(stage) / "m.pt").write_text("WEIGHTS")
    with opened_again(tmp_path) as again, pytest.raises(StageError, match="not what was unpacked"):
        again.directory(stage)


def opened_again(tmp_path: Path) -> closing[ArchiveStore]:
    return closing(opened(tmp_path))


def test_a_cache_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(TransientError, match="cannot write the model cache"):
        opened(tmp_path).directory(Stage(name="ocr", config="[A]", version="1"))


@pytest.mark.parametrize(
    ("server", "path", "found"),
    [
        ("store", "a b.tar", "ftp://store:21/a b.tar"),
        ("store:21", "/x/a.tar", "ftp://store:21/x/a.tar"),
        ("[::1]:22", "a.tar", "sftp://[::1]:22/a.tar"),
        ("", "ftp://u:p@store/a%20b.tar", "ftp://store:21/a b.tar"),
        ("", "SFTP://store:2022/a#b.tar", "sftp://store:2022/a#b.tar"),
        ("", "ftps://[::1]/a.tar", "ftps://[::1]:21/a.tar"),
        ("sftp://store/base/", "/a.tar", "sftp://store:22/base/a.tar"),
        ("", "s3://Bucket/key/a b.tar", "s3://Bucket/key/a b.tar"),
        ("", "https://u:p@store:8080/a%20b.tar?x=1", "https://store:8080/a%20b.tar?x=1"),
        ("", "file:///x/a.tar", "file:///x/a.tar"),
    ],
)
def test_places(server: str, path: str, found: str) -> None:
    assert str(locate(server, path, StoreAccess(user="me", password="secret"))) == found


def test_whose_login_goes_where() -> None:
    access = StoreAccess(user="me", password="secret")
    logins: Callable[[str], tuple[str, str]] = lambda url: (  # noqa: E731
        (place := locate("", url, access)).user,
        place.password,
    )
    assert logins("sftp://store/a") == ("me", "secret")
    assert logins("sftp://u:p%40@store/a") == ("u", "p@")
    assert logins("https://store/a") == ("", "")
    assert logins("s3://bucket/a") == ("", "")
    assert locate("store", "a", replace(access, ftp_tls=True)).protocol == "ftps"
    assert "secret" not in repr(access)
    assert "secret" not in repr(locate("store", "a", access))


@pytest.mark.parametrize(
    ("server", "path"),
    [
        ("", "gopher://u:secret@store/a"),
        ("", "ftp://u:secret@store:99999/a"),
        ("", "ftp://u:secret@store"),
        ("", "ftp://u:secret@store/"),
        ("", "sftp:///a"),
        ("", "file://store/a"),
        ("store", "a\r\nDELE b"),
        ("store", ""),
        ("st/ore", "a"),
    ],
)
def test_places_that_are_none(server: str, path: str) -> None:
    with pytest.raises(StageError) as error:
        locate(server, path, StoreAccess())
    assert "secret" not in str(error.value)


def test_texts_lose_their_logins() -> None:
    assert (
        without_login("ftp://bob:p@ss@host/m.tar, ftp://bob:p/s@host/m, s3://u@b")
        == "ftp://host/m.tar, ftp://host/m, s3://b"
    )
    assert without_login("http://host:8080/a@b and ftp://[::1]:21/c") == "http://host:8080/a@b and ftp://[::1]:21/c"
    assert without_login("from ftp://u:p@a/b@c and http://x/y") == "from ftp://a/b@c and http://x/y"


def test_a_folder_as_a_store(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("x")
    url = f"file://{tmp_path}/models/new/a.tar"
    (tmp_path / "models").mkdir()
    (tmp_path / "models/other").touch()
    upload("", url, tmp_path / "source", StoreAccess())
    fetch((), url, tmp_path / "got", StoreAccess())
    assert (tmp_path / "got").read_text() == "x"
    remove("", url, StoreAccess())
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["other"]
    with pytest.raises(StageError, match="does not exist"):
        remove("", url, StoreAccess())
    with pytest.raises(StageError, match="longer than 0 bytes"):
        fetch((), f"file://{tmp_path}/source", tmp_path / "got", StoreAccess(), max_bytes=0)
    with pytest.raises(UsageError, match="cannot upload"):
        upload("", url, tmp_path / "none", StoreAccess())
