"""The registry and the dummy engine."""

from __future__ import annotations

import random
from configparser import ConfigParser, InterpolationError
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pero_worker.engines import installed_engines, load_engine
from pero_worker.engines.dummy import DummyEngine, load
from pero_worker.errors import PageError, StageError
from pero_worker.stage import Stage
from pero_worker.work import EngineInput, EngineOutput


class CountingClock:
    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def dummy(text: str) -> DummyEngine:
    config = ConfigParser()
    config.read_string("[WORKER]\nDUMMY = no\n" + text)
    return load(config, Path(), "cpu")


def test_the_bundled_engines_come_by_entry_point() -> None:
    found = {engine.name: engine for engine in installed_engines()}
    assert {"pero", "rapidocr", "dummy"} <= set(found)
    assert found["pero"].version == "0.7.0"
    assert all(engine.available for engine in found.values())


def test_any_text_in_dummy_makes_a_dummy_stage() -> None:
    engine = load_engine(Stage(name="s", config="[WORKER]\nDUMMY = no\n", version="1"), Path(), "cpu")
    assert engine.description == "dummy"


def test_an_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(StageError, match=r"'tess'; installed: .*dummy"):
        load_engine(Stage(name="s", config="[WORKER]\nENGINE = tess\n", version="1"), Path(), "cpu")


def test_a_plugin_that_raises_at_load_is_a_stage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("plugin bug")

    monkeypatch.setattr("pero_worker.engines.dummy.load", explode)
    with pytest.raises(StageError, match="plugin bug"):
        load_engine(Stage(name="s", config="[WORKER]\nDUMMY = yes\n", version="1"), Path(), "cpu")


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 100, 100),
        ("TIME_SCALE = 0.01", 1, 1),
        ("TIME_SCALE = 0.01\nTIME_DELTA = 0.5", 0.5, 1.5),
        ("TIME_SCALE = 0.01\nTIME_DELTA = 9\nTIME_DIFF_MIN = 1\nTIME_DIFF_MAX = 2", 2, 3),
        ("TIME_SCALE = 0\nTIME_DIFF_MIN = -5\nTIME_DIFF_MAX = -4", 0, 0),
    ],
)
def test_durations_follow_the_contract(text: str, least: float, most: float) -> None:
    given = dummy(text)
    durations = []
    for seed in range(20):
        clock = CountingClock()
        engine = DummyEngine(
            clock=clock, chance=random.Random(seed), scale=given.scale, least=given.least, most=given.most
        )
        assert engine.process(EngineInput(name="a.png", size=100)) == EngineOutput()
        durations.append(clock.slept)
    assert min(durations) >= least
    assert max(durations) <= most
    assert (max(durations) > min(durations)) == (most > least)


def test_failures_on_demand() -> None:
    failing = load_engine(Stage(name="s", config="[WORKER]\nFAILTEST = 1\n", version="1"), Path(), "cpu")
    with pytest.raises(PageError):
        failing.process(EngineInput(name="a.png", size=0))
    # Upstream asks for DUMMY first.
    dummy("TIME_SCALE = 0\nFAILTEST = 1").process(EngineInput(name="a.png", size=0))
    picky = dummy("TIME_SCALE = 0\nFAIL_NAME = bad*")
    picky.process(EngineInput(name="good.png", size=0))
    with pytest.raises(PageError, match=r"bad\.png"):
        picky.process(EngineInput(name="bad.png", size=0))


def test_a_config_with_nonsense_numbers_is_a_stage_error() -> None:
    with pytest.raises(StageError, match=r"fast"):
        dummy("TIME_SCALE = fast")


@pytest.mark.parametrize("key", ["DUMMY = 100%", "DUMMY = 1\nFAIL_NAME = scan%d*"])
def test_per_cent_signs_are_plain_text(key: str) -> None:
    assert load_engine(Stage(name="s", config=f"[WORKER]\n{key}\n", version="1"), Path(), "cpu").description == "dummy"


def test_a_few_bytes_that_name_each_other_stay_small() -> None:
    nested = "".join(f"v{number} = {f'%(v{number - 1})s' * 20}\n" for number in range(1, 9))
    config = f"[WORKER]\nDUMMY = yes\nv0 = x\n{nested}"
    parser = Stage(name="s", config=config, version="1").parsed()
    assert len(parser.get("WORKER", "v3")) == 20**3
    with pytest.raises(InterpolationError, match="grows beyond all bounds"):
        parser.get("WORKER", "v8")
    with pytest.raises(StageError, match="grows beyond all bounds"):
        config = f"[PAGE_PARSER]\nRUN_OCR = %(v8)s\nv0 = x\n{nested}"
        load_engine(Stage(name="s", config=config, version="1"), Path(), "cpu")


@pytest.mark.parametrize("value", ["inf", "nan", "1e999"])
def test_durations_are_finite(value: str) -> None:
    with pytest.raises(StageError, match="TIME_SCALE"):
        dummy(f"TIME_SCALE = {value}")


def test_a_dummy_stage_can_add_a_line_to_the_page() -> None:
    work = EngineInput(name="a.png", size=5)
    first = dummy("TIME_SCALE = 0\nLINE = layout").process(work)
    second = dummy("TIME_SCALE = 0\nLINE = ocr").process(replace(work, page=first.page))
    assert second.page is not None
    assert [line.text for line in second.page.lines()] == ["layout: a.png, 5 bytes", "ocr: a.png, 5 bytes"]
    assert dummy("TIME_SCALE = 0").process(work).page is None
