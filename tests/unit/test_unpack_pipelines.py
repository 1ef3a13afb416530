"""Archives from anyone, and the pipelines made from them."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pero_worker.errors import StageError
from pero_worker.models.pipelines import bundled_pipelines, load_pipeline
from pero_worker.models.unpack import Limits, unpack


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o4755
    return info


def zipped(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "parent": lambda p: tar(p, (entry("../evil"), b"x")),
    "inner parent": lambda p: tar(p, (entry("a/../../evil"), b"x")),
    "absolute": lambda p: tar(p, (entry("/tmp/evil"), b"x")),
    "symlink": lambda p: tar(p, (entry("a", tarfile.SYMTYPE, "/etc"), b""), (entry("a/evil"), b"x")),
    "hard link": lambda p: tar(p, (entry("a", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "device": lambda p: tar(p, (entry("a", tarfile.CHRTYPE), b"")),
    "fifo": lambda p: tar(p, (entry("a", tarfile.FIFOTYPE), b"")),
    "twice": lambda p: tar(p, (entry("a"), b"x"), (entry("a"), b"y")),
    "zip parent": lambda p: zipped(p, ("../evil", b"x")),
    "zip backslash": lambda p: zipped(p, ("..\\evil", b"x")),
    "too large": lambda p: zipped(p, ("big", b"0" * 2_000_000)),
    "too many": lambda p: tar(p, *((entry(str(i)), b"") for i in range(60))),
    "not an archive": lambda p: Path(shutil.copy(__file__, p)),
    "torn": lambda p: (tar(p, (entry("a"), bytes(range(256)) * 999)), p.write_bytes(p.read_bytes()[:-40]), p)[2],
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    archive = make(tmp_path / "archive")
    with pytest.raises(StageError):
        unpack(archive, tmp_path / "store/target", Limits(files=50, bytes=1_000_000))
    assert [p.name for p in tmp_path.rglob("*")] == ["archive", "store"] or [p.name for p in tmp_path.rglob("*")] == [
        "store",
        "archive",
    ]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_of_tar(tmp_path: Path, mode: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.ini").write_text("[WORKER]\nDUMMY = 1\n")
    with tarfile.open(tmp_path / "m.tar", mode) as archive:  # type: ignore[call-overload]
        archive.add(tmp_path / "model", "model")
    unpack(tmp_path / "m.tar", tmp_path / "t")
    assert (tmp_path / "t/model/config.ini").read_text().startswith("[WORKER]")
    assert (tmp_path / "t/model/config.ini").stat().st_mode & 0o7000 == 0


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        target = path / name.replace("__", "/").replace("_", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return path


DUMMY = "[WORKER]\nDUMMY = yes\n"


def test_a_folder_is_one_stage_named_after_it(tmp_path: Path) -> None:
    pipeline = load_pipeline(str(folder(tmp_path / "my model", config_ini=DUMMY)), cache=tmp_path / "cache")
    assert [stage.name for stage in pipeline.stages] == ["my_model"]
    assert pipeline.stages[0].directory == tmp_path / "my model"


def test_a_manifest_names_the_stages_in_order(tmp_path: Path) -> None:
    path = folder(
        tmp_path / "two", pipeline_toml='stages = ["b", "a"]', a__config_ini=DUMMY, b__config_ini=DUMMY + "X = 1\n"
    )
    pipeline = load_pipeline(str(path), cache=tmp_path)
    assert [stage.name for stage in pipeline.stages] == ["b", "a"]
    assert pipeline.stages[0].version != pipeline.stages[1].version


@pytest.mark.parametrize("kind", ["zip", "xztar"])
@pytest.mark.parametrize("inner", [".", "model"])
def test_an_archive_is_unpacked_once(tmp_path: Path, kind: str, inner: str) -> None:
    folder(tmp_path / "src" / inner, config_ini=DUMMY, net_pt="weights")
    archive = shutil.make_archive(str(tmp_path / "model"), kind, tmp_path / "src")
    first = load_pipeline(archive, cache=tmp_path / "cache")
    inode = (tmp_path / "cache").iterdir().__next__().stat().st_ino
    second = load_pipeline(archive, cache=tmp_path / "cache")
    assert first == second
    assert first.stages[0].name == "model"
    assert [p.stat().st_ino for p in (tmp_path / "cache").iterdir()] == [inode]


def test_the_version_follows_the_model_files(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", config_ini=DUMMY, net_pt="weights")
    versions = [load_pipeline(str(path), cache=tmp_path).stages[0].version]
    for name, text in (("README.md", "words"), (".hidden", "x"), ("net.pt", "other"), ("more.pt", "more")):
        (path / name).write_text(text)
        versions.append(load_pipeline(str(path), cache=tmp_path).stages[0].version)
    assert versions[0] == versions[1] == versions[2]
    assert len(set(versions)) == 3


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "config.ini"),
        ({"config_ini": "no section\n"}, "cannot be parsed"),
        ({"pipeline_toml": "stages = 3"}, "list of folder names"),
        ({"pipeline_toml": 'stages = ["a", "a"]', "a__config_ini": DUMMY}, "twice"),
        ({"pipeline_toml": 'stages = ["out"]', "out__config_ini": DUMMY}, "no name for a stage"),
        ({"pipeline_toml": 'stages = ["../x"]'}, "no name for a stage"),
        ({"pipeline_toml": "stages = ["}, "cannot be read"),
    ],
)
def test_unusable_folders_say_why(tmp_path: Path, files: dict[str, str], words: str) -> None:
    (tmp_path / "p").mkdir()
    with pytest.raises(StageError, match=words):
        load_pipeline(str(folder(tmp_path / "p", **files)), cache=tmp_path / "cache")


def test_the_bundled_ones() -> None:
    bundled = ["print-best", "print-latin", "print-latin-small", "rapidocr"]
    assert [pipeline.name for pipeline in bundled_pipelines()] == bundled
    assert all(pipeline.description for pipeline in bundled_pipelines())
    with pytest.raises(StageError, match=", ".join(bundled)):
        load_pipeline("nonsense", cache=Path("unused"))
