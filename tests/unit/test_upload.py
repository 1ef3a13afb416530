"""Uploading models to the store."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from pero_worker.cluster.registry.upload import archive_of, digest_of, upload_archive
from pero_worker.errors import UsageError
from pero_worker.stores.location import StoreAccess

CONFIG = "[WORKER]\nDUMMY = yes\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "nets").mkdir(parents=True)
    (folder / "config.ini").write_text(CONFIG)
    (folder / "nets" / "a.pt").write_bytes(b"weights")
    return folder


def test_the_same_folder_is_the_same_archive(model: Path) -> None:
    digests = set()
    for _ in range(2):
        with archive_of(model) as packed:
            digests.add(digest_of(packed.archive))
            assert packed.config == CONFIG
    assert len(digests) == 1


def test_links_are_followed_and_what_is_no_file_is_left_out(model: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.pt").write_bytes(b"more weights")
    (model / "b.pt").symlink_to(tmp_path / "elsewhere.pt")
    os.mkfifo(model / "fifo")
    with archive_of(model) as made, tarfile.open(made.archive) as packed:
        assert sorted(packed.getnames()) == ["b.pt", "config.ini", "nets", "nets/a.pt"]
        assert packed.getmember("b.pt").isreg()


def test_an_archive_goes_as_it_is(model: Path, tmp_path: Path) -> None:
    packed = tmp_path / "m.tar.xz"
    with tarfile.open(packed, "w:xz") as target:
        target.add(model, "m")
    with archive_of(packed) as made:
        assert (made.archive, made.config) == (packed, CONFIG)
        assert (made.folder / "nets" / "a.pt").read_bytes() == b"weights"


def test_bundled_pipelines_have_names() -> None:
    with archive_of(Path("rapidocr")) as made:
        assert "rapidocr" in made.config


def test_a_configuration_of_ones_own_counts(model: Path) -> None:
    (model / "config.ini").unlink()
    with archive_of(model, "[WORKER]\n") as made:
        assert made.config == "[WORKER]\n"


def test_what_cannot_be_a_stage_is_refused_with_a_remedy(model: Path, tmp_path: Path) -> None:
    dangling = tmp_path / "dangling"
    dangling.mkdir()
    (dangling / "config.ini").write_text(CONFIG)
    (dangling / "a.pt").symlink_to(tmp_path / "gone")
    several = tmp_path / "several"
    for stage in ("layout", "ocr"):
        (several / stage).mkdir(parents=True)
        (several / stage / "config.ini").write_text(CONFIG)
    (several / "pipeline.toml").write_text('stages = ["layout", "ocr"]')
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, words in (
        (tmp_path / "none", "name a folder, an archive or a bundled pipeline"),
        (empty, "holds no config.ini: name one with --config"),
        (several, r"several stages \(layout, ocr\)"),
        (dangling, "cannot"),
    ):
        with pytest.raises(UsageError, match=words), archive_of(path):
            pass


def test_an_upload_tells_how_far_it_is(model: Path, tmp_path: Path) -> None:
    told: list[int] = []
    with archive_of(model) as made:
        upload_archive((), f"file://{tmp_path}/store/m.tar.gz", made.archive, StoreAccess(), told.append)
        assert told[-1] == made.archive.stat().st_size
        assert (tmp_path / "store/m.tar.gz").read_bytes() == made.archive.read_bytes()


def test_networks_have_the_names_that_upstreams_workers_open_on_a_cpu(model: Path) -> None:
    (model / "config.ini").write_text("[PAGE_PARSER]\n")
    (model / "b.pt").write_bytes(b"for a GPU")
    (model / "b.pt.cpu").write_bytes(b"for a CPU")
    with archive_of(model) as made:
        assert (made.folder / "nets/a.pt.cpu").read_bytes() == b"weights"
        assert (made.folder / "b.pt.cpu").read_bytes() == b"for a CPU"
    assert not (model / "nets/a.pt.cpu").exists()
