"""A stage is tried before it is published, in a process that may crash or hang."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pero_worker.errors import StageError
from pero_worker.models.pipelines import bundled_pipelines
from pero_worker.stage import Stage
from pero_worker.worker import trial
from pero_worker.worker.trial import Trial, try_stage


def stage(config: str, folder: Path) -> Stage:
    return Stage(name="ocr", config=config, version="", directory=folder)


@pytest.fixture
def bundled(tmp_path: Path) -> Stage:
    """A copy of a real model that a test may spoil."""
    found = next(pipeline for pipeline in bundled_pipelines() if pipeline.name == "print-latin").stages[0]
    assert found.directory is not None
    shutil.copytree(found.directory, tmp_path / "model")
    return stage(found.config, tmp_path / "model")


def test_a_model_that_works_does_a_page(bundled: Stage) -> None:
    assert try_stage(bundled) == Trial(done=True)


def test_a_network_that_is_cut_off_is_refused(bundled: Stage) -> None:
    assert bundled.directory is not None
    (network, *_) = sorted(bundled.directory.glob("*.pt"), key=lambda path: -path.stat().st_size)
    network.write_bytes(network.read_bytes()[:1000])
    with pytest.raises(StageError, match=r"ocr.pt|parsenet|cannot"):
        try_stage(bundled)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("[WORKER]\nENGINE = nonesuch\n", "there is no engine 'nonesuch'"),
        ("[WORKER]\nDUMMY = yes\nTIME_LIMIT = abc\n", "TIME_LIMIT = abc"),
        ("[WORKER]\nDUMMY = yes\nTIME_SCALE = soon\n", "TIME_SCALE must be a number"),
        ("WORKER\n", "cannot be parsed"),
    ],
)
def test_what_cannot_be_loaded_is_refused(config: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=reason):
        try_stage(stage(config, tmp_path))


def test_an_engine_that_is_only_for_load_tests_is_not_waited_for(tmp_path: Path) -> None:
    assert try_stage(stage("[WORKER]\nDUMMY = yes\nTIME_SCALE = 1000\n", tmp_path), seconds=60).done


def test_where_the_engine_is_missing_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pero_worker.engines.registry._NEEDS", {"rapidocr": ("rapidocr", ("no_such_module",))})
    tried = try_stage(stage("[WORKER]\nENGINE = rapidocr\n", tmp_path))
    assert not tried.done and "lacks the engine rapidocr: pip install" in tried.reason


def die(*_: object) -> None:
    os._exit(9)


def test_a_crash_and_a_hang_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = "[WORKER]\nDUMMY = yes\n"
    with pytest.raises(StageError, match=r"took longer than 0\.01 s"):
        try_stage(stage(config, tmp_path), seconds=0.01)
    monkeypatch.setattr(trial, "_try", die)
    with pytest.raises(StageError, match=r"died \(9\)"):
        try_stage(stage(config, tmp_path))
