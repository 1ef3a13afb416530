"""What test_unpack_pipelines.py leaves out: the other ways to name a pipeline, and mistakes in doing so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pero_worker.engines.registry import engine_name
from pero_worker.errors import StageError
from pero_worker.models.pipelines import bundled_pipelines, load_pipeline

DUMMY = "[WORKER]\nDUMMY = yes\n"


def test_a_bare_config_ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.ini").write_text(DUMMY)
    by_path = load_pipeline(str(tmp_path / "mine/config.ini"), cache=tmp_path)
    monkeypatch.chdir(tmp_path / "mine")
    assert load_pipeline("config.ini", cache=tmp_path) == load_pipeline(".", cache=tmp_path) == by_path
    assert [(stage.name, stage.config) for stage in by_path.stages] == [("mine", DUMMY)]


def test_a_bundled_name_wins_over_a_folder_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rapidocr").mkdir()
    (tmp_path / "rapidocr/config.ini").write_text(DUMMY)
    monkeypatch.chdir(tmp_path)
    assert load_pipeline("rapidocr", cache=tmp_path) in bundled_pipelines()
    (stage,) = load_pipeline("./rapidocr", cache=tmp_path).stages
    assert stage.config == DUMMY


def test_the_bundled_ones_name_their_engines() -> None:
    engines = {pipeline.name: engine_name(pipeline.stages[0].parsed()) for pipeline in bundled_pipelines()}
    pero = ("print-best", "print-latin", "print-latin-small")
    assert engines == dict.fromkeys(pero, "pero") | {"rapidocr": "rapidocr"}


@pytest.mark.parametrize("name", ["print-best", "print-latin"])
def test_the_model_card_tells_the_files_and_does_not_count_as_one(name: str) -> None:
    (stage,) = load_pipeline(name, cache=Path("unused")).stages
    assert stage.directory is not None
    card = (stage.directory / "MODEL_CARD.md").read_text("utf-8")
    assert all(f"`{path.name}`" in card for path in stage.directory.glob("*.pt"))
    assert "| typescript and carbon copies, 1936 to 1958 | **" in card
    assert card.count("| CC BY 4.0 |") == 18  # whose lines it learnt from


def test_the_best_pipeline_reads_with_the_usual_one_and_another_whose_licence_lies_beside_it() -> None:
    usual, best = (
        load_pipeline(name, cache=Path("unused")).stages[0].directory for name in ("print-latin", "print-best")
    )
    assert usual is not None and best is not None
    for name in ("ocr.pt", "ocr.json", "parsenet.pt"):
        assert (best / name).read_bytes() == (usual / name).read_bytes()
    assert "Apache License" in (best / "LICENSE.ocrd-froc.txt").read_text("utf-8")
    assert sum(file.stat().st_size for file in best.iterdir()) < 10e6


def test_a_stage_whose_folder_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/pipeline.toml").write_text('stages = ["layout"]')
    with pytest.raises(StageError, match=r"p/layout is no pipeline.*config\.ini"):
        load_pipeline(str(tmp_path / "p"), cache=tmp_path)


def test_a_config_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/config.ini").write_bytes(b"\xff\xfe\x00[")
    with pytest.raises(StageError, match=r"config\.ini cannot be read"):
        load_pipeline(str(tmp_path / "p"), cache=tmp_path)


@pytest.mark.parametrize("name", ["out", "log"])
def test_a_pipeline_cannot_be_named_as_a_queue_of_results(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.ini").write_text(DUMMY)
    with pytest.raises(StageError, match="no name for a stage"):
        load_pipeline(str(tmp_path / name), cache=tmp_path)


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an archive\n" * 100)
    with pytest.raises(StageError, match=r"no pipeline '.*notes\.txt'"):
        load_pipeline(str(tmp_path / "notes.txt"), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
