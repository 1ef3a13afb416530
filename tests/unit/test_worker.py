"""The worker's loop on in-memory ports and purpose-built engines."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Picture

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.coordinators.null import NoSuspects
from pero_worker.errors import DeviceError, PageError, PeroWorkerError, RequestError, StageError, TransientError
from pero_worker.inputs.images import decode_scan
from pero_worker.page import Page
from pero_worker.ports import Engine
from pero_worker.request import Payload, Request, StageStatus
from pero_worker.stage import Stage
from pero_worker.testing import StandingClock
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.wire.tree import job_node
from pero_worker.work import Assignment, Delivery, EngineInput, EngineOutput, WorkerStatus
from pero_worker.worker import holding
from pero_worker.worker.loop import Worker, WorkerSettings
from pero_worker.worker.payloads import ImageReader
from pero_worker.worker.steps import StageRunner


class FakeClock:
    def __init__(self) -> None:
        self.slept: list[float] = []
        self._ticks = itertools.count()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(self._ticks))

    def monotonic(self) -> float:
        return float(next(self._ticks))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class ScriptedEngine:
    """Does what `act` does, and remembers what it was given."""

    needs_image = False
    description = "scripted 1"

    def __init__(self, act: Callable[[EngineInput], EngineOutput]) -> None:
        self.act = act
        self.seen: list[EngineInput] = []
        self.closed = False

    def process(self, work: EngineInput) -> EngineOutput:
        self.seen.append(work)
        return self.act(work)

    def close(self) -> None:
        self.closed = True


class TimedCoordinator(MemoryCoordinator):
    """Remembers for which stages times were recorded."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__(stages)
        self.timed: list[str] = []

    def record_time(self, stage: str, seconds: float, onward: str) -> None:
        self.timed.append(stage)


class NoModels:
    def directory(self, stage: Stage) -> Path:
        return Path()


class Bench:
    """A worker on in-memory ports with scripted engines; `run` works until its stages' queues are empty."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **acts: Callable[[EngineInput], EngineOutput]) -> None:
        self.engines = {name: ScriptedEngine(act) for name, act in acts.items()}
        self.broker = MemoryBroker([*acts, "out"])
        self.coordinator = TimedCoordinator([Stage(name=name, config="", version=f"{name}-v1") for name in acts])
        self.clock = FakeClock()
        monkeypatch.setattr(holding, "load_engine", self.load)
        runner = StageRunner(host="worker", images=ImageReader(max_pixels=1_000_000), clock=self.clock, max_attempts=3)
        self.worker = Worker(
            "worker",
            broker=self.broker,
            assignments=self.coordinator,
            reports=self.coordinator,
            suspects=NoSuspects(),
            models=NoModels(),
            runner=runner,
            settings=WorkerSettings(poll=0, jitter=lambda: 1.0),
        )

    def load(self, stage: Stage, directory: Path, device: str) -> Engine:
        return self.engines[stage.name]

    def put(self, *stages: str) -> None:
        request = Request(uuid="r", page_uuid="p", stages=stages, results=(Payload(name="a.png", content=b"12345"),))
        self.broker.publish(stages[0], encode_request(request))

    def run(self, rounds: int = 10) -> None:
        left = iter([False] * rounds)
        self.worker.run(lambda: next(left, True))

    def result(self) -> Request:
        delivery = self.broker.get(("out",), "test", 0)
        assert delivery is not None
        return decode_request(delivery.body)


def recognise(work: EngineInput) -> EngineOutput:
    return EngineOutput(page=Page(name=work.name, width=10, height=10), logits=b"logits", seconds={"ocr": 2.0})


def refuse(work: EngineInput) -> EngineOutput:
    raise PageError("no text to be had here")


def test_a_page_goes_straight_through_all_held_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, layout=recognise, ocr=recognise)
    bench.put("layout", "ocr", "out")
    bench.run()
    result = bench.result()
    assert result.stages == ("out",)
    assert [payload.name for payload in result.results] == ["a.png", "a.png_page.xml", "a.png.logits"]
    assert [(log.stage, log.status, log.version, log.attempt) for log in result.logs] == [
        ("layout", "OK", "layout-v1", 1),
        ("ocr", "OK", "ocr-v1", 1),
    ]
    assert result.logs[0].seconds["ocr"] == 2.0
    second = bench.engines["ocr"].seen[0]
    assert second.page == Page(name="a.png", width=10, height=10)
    assert second.logits == b"logits"
    assert bench.coordinator.timed == ["layout", "ocr"]
    assert bench.coordinator.reports()["worker"].status is WorkerStatus.DEAD
    assert all(engine.closed for engine in bench.engines.values())


def test_a_job_that_is_cancelled_while_its_page_is_in_hand_goes_through_no_further_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, layout=recognise, ocr=recognise)
    cancelled: set[str] = set()

    def process(work: EngineInput) -> EngineOutput:
        cancelled.add(job_node("box"))
        return recognise(work)

    bench.engines["layout"].act = process
    assignment = Assignment(stages=("layout", "ocr"))
    monkeypatch.setattr(
        bench.coordinator, "assignment", lambda _worker: replace(assignment, cancelled=frozenset(cancelled))
    )
    for job in ("box", "other", ""):
        request = Request(
            uuid=job,
            page_uuid=job,
            stages=("layout", "ocr", "out"),
            results=(Payload(name="a", content=b"1"),),
            job=job,
        )
        bench.broker.publish("layout", encode_request(request))
    bench.run()
    ended = {(result := bench.result()).job: result for _ in range(3)}
    assert [log.stage for log in ended["box"].logs] == ["layout", "ocr"]
    assert ended["box"].cancelled and ended["box"].failed and ended["box"].results == ()
    assert ended["box"].stages == ("out",)
    for job in ("other", ""):
        assert not ended[job].failed and len(ended[job].results) == 3
    assert len(bench.engines["ocr"].seen) == 2


def test_a_failing_page_is_tried_three_times_then_given_up_with_all_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, layout=refuse, ocr=recognise)
    bench.put("layout", "ocr", "out")
    bench.run()
    result = bench.result()
    assert result.failed
    assert result.stages == ("ocr", "out")
    assert [log.attempt for log in result.logs] == [1, 2, 3]
    assert {log.log for log in result.logs} == {"no text to be had here"}
    assert len(bench.engines["layout"].seen) == 3
    assert bench.engines["ocr"].seen == []


def test_an_undecodable_page_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    monkeypatch.setattr(ScriptedEngine, "needs_image", True)
    bench.put("ocr", "out")
    bench.run()
    assert [log.attempt for log in bench.result().logs] == [1]


def test_a_plugin_that_raises_anything_costs_only_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(work: EngineInput) -> EngineOutput:
        raise ZeroDivisionError("in the plugin")

    bench = Bench(monkeypatch, ocr=explode)
    bench.put("ocr", "out")
    bench.put("ocr", "out")
    bench.run()
    for _ in range(2):
        result = bench.result()
        assert result.logs[-1].log.startswith("scripted 1 raised ZeroDivisionError: in the plugin")
        assert "Traceback" in result.logs[-1].log


def test_a_page_that_kills_its_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    bench.put("ocr", "out")
    for _ in range(3):
        assert bench.broker.get(("ocr",), "victim", 0) is not None
        bench.broker.release("victim")
    bench.run()
    result = bench.result()
    assert result.failed
    assert "died on this page 3 times" in result.logs[-1].log
    assert bench.engines["ocr"].seen == []


def test_two_deaths_and_a_success_make_the_third_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    bench.put("ocr", "out")
    for _ in range(2):
        bench.broker.get(("ocr",), "victim", 0)
        bench.broker.release("victim")
    bench.run()
    assert [(log.status, log.attempt) for log in bench.result().logs] == [("OK", 3)]


def test_a_worker_that_lost_its_device_gives_the_page_back_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def process(work: EngineInput) -> EngineOutput:
        raise DeviceError("the GPU failed: CUDA error: unspecified launch failure")

    bench = Bench(monkeypatch, one=process)
    bench.put("one", "out")
    bench.put("one", "out")
    bench.run()
    assert bench.worker.has_lost_device and bench.worker.handled == 1
    assert bench.broker.length("one") == 2 and bench.broker.length("out") == 0
    assert bench.engines["one"].closed


def test_transient_trouble_gives_the_page_back_uncounted_and_backs_off(monkeypatch: pytest.MonkeyPatch) -> None:
    troubles = iter([True, True, False])

    def shaky(work: EngineInput) -> EngineOutput:
        if next(troubles):
            raise TransientError("the GPU is gone")
        return recognise(work)

    bench = Bench(monkeypatch, ocr=shaky)
    bench.put("ocr", "out")
    bench.run()
    assert [log.attempt for log in bench.result().logs] == [1]
    assert bench.clock.slept == [0.25, 0.25, 0.25]


def test_results_that_are_too_large_are_left_behind_and_the_page_comes_out_as_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(
        monkeypatch, ocr=lambda work: EngineOutput(page=Page(name=work.name, width=10, height=10), logits=b"x" * 10_000)
    )
    hand_on = bench.broker.hand_on

    def bounded(delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        if len(body) > 5_000:
            raise RequestError(f"RabbitMQ refuses a message of {len(body)} bytes")
        hand_on(delivery, queue, body, priority)

    monkeypatch.setattr(bench.broker, "hand_on", bounded)
    bench.put("ocr", "out")
    bench.run()
    result = bench.result()
    assert result.failed and "refuses a message" in result.logs[-1].log
    assert [payload.name for payload in result.results] == ["a.png"]
    assert bench.broker.take_set_aside() == []


def test_a_worker_that_waits_for_a_server_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)

    def away(queues: object, consumer: str, timeout: float) -> None:
        raise TransientError("RabbitMQ is away")

    monkeypatch.setattr(bench.broker, "get", away)
    bench.worker.run(lambda: sum(bench.clock.slept) >= 10)
    assert max(bench.clock.slept) <= 0.25
    assert sum(bench.clock.slept) == 10


def test_no_page_waits_in_hand_while_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    calls: list[object] = []
    get = bench.broker.get
    monkeypatch.setattr(bench.broker, "get", lambda queues, *more: (calls.append(queues), get(queues, *more))[1])
    monkeypatch.setattr(holding, "load_engine", lambda *_: (calls.append("load"), bench.engines["ocr"])[1])
    bench.run(1)
    assert calls == [(), "load", ("ocr",)]


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        (("ocr",), "no output queue"),
        (("elsewhere", "out"), "elsewhere"),
        (("ocr", "nowhere"), "nowhere"),
        (("ocr", "q" * 300), "no queue can have a name so long"),
        (("ocr", "č" * 130, "out"), "no queue can have a name so long"),
        ((*["ocr"] * 20_000, "out"), "20001 stages"),
    ],
)
def test_unusable_requests_are_set_aside(monkeypatch: pytest.MonkeyPatch, stages: tuple[str, ...], reason: str) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    bench.broker.publish(
        "ocr",
        encode_request(Request(uuid="r", page_uuid="p", stages=stages, results=(Payload(name="a.png", content=b"1"),))),
    )
    bench.broker.publish("ocr", b"\xff\xff garbage")
    bench.put("ocr", "out")
    bench.run()
    letters = bench.broker.take_set_aside()
    assert len(letters) == 2
    assert reason in letters[0].reason
    assert bench.result().stages == ("out",)


def test_a_stage_that_cannot_be_loaded_is_reported_and_not_retried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    loads: list[str] = []

    def broken(stage: Stage, directory: Path, device: str) -> Engine:
        loads.append(stage.name)
        raise StageError("ocr.pt is missing")

    monkeypatch.setattr(holding, "load_engine", broken)
    reported: list[tuple[WorkerStatus, str]] = []

    def report(worker: str, status: WorkerStatus, message: str = "") -> None:
        reported.append((status, message))

    monkeypatch.setattr(bench.coordinator, "report", report)
    bench.put("ocr", "out")
    bench.run()
    assert loads == ["ocr"]
    assert (WorkerStatus.CONFIGURATION_FAILED, "ocr.pt is missing") in reported
    assert bench.broker.length("ocr") == 1


def test_a_stage_that_cannot_be_loaded_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, bad=recognise, ocr=recognise)
    told: list[tuple[dict[str, str], dict[str, str]]] = []

    def load(stage: Stage, directory: Path, device: str) -> Engine:
        if stage.name == "bad":
            raise StageError("bad.pt is missing")
        return bench.engines[stage.name]

    def report_stages(worker: str, held: Mapping[str, str], refused: Mapping[str, str]) -> None:
        told.append((dict(held), dict(refused)))

    monkeypatch.setattr(holding, "load_engine", load)
    monkeypatch.setattr(bench.coordinator, "report_stages", report_stages)
    bench.put("ocr", "out")
    bench.run()
    assert bench.result().logs[0].stage == "ocr"
    assert told == [({"ocr": "ocr-v1"}, {"bad": "bad.pt is missing"})]


def test_a_store_that_is_away_stops_no_stage_that_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise, later=recognise)
    tries: list[float] = []

    def load(stage: Stage, directory: Path, device: str) -> Engine:
        if stage.name == "later":
            tries.append(bench.clock.monotonic())
            if len(tries) < 3:
                raise TransientError("the store is away")
        return bench.engines[stage.name]

    def get(queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        bench.clock.sleep(1)
        return original(queues, consumer, 0)

    original = bench.broker.get
    monkeypatch.setattr(holding, "load_engine", load)
    monkeypatch.setattr(bench.broker, "get", get)
    bench.put("ocr", "out")
    bench.put("later", "out")
    bench.run(30)
    assert {bench.result().logs[0].stage for _ in range(2)} == {"ocr", "later"}
    assert len(tries) == 3 and min(tries[1] - tries[0], tries[2] - tries[1]) >= 3, (
        "it is tried again, and not all the time"
    )


def test_a_clock_that_is_set_while_a_page_is_in_hand_does_not_change_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours = [0]

    def act(work: EngineInput) -> EngineOutput:
        hours[0] -= 5
        return EngineOutput()

    def fail(work: EngineInput) -> EngineOutput:
        hours[0] -= 5
        raise PageError("bad", permanent=True)

    bench = Bench(monkeypatch, a=act, b=fail)
    now = bench.clock.now
    monkeypatch.setattr(bench.clock, "now", lambda: now() + timedelta(hours=hours[0]))
    bench.put("a", "b", "out")
    bench.run()
    result = bench.result()
    took = [(log.end - log.start).total_seconds() for log in result.logs]
    assert [log.stage for log in result.logs] == ["a", "b"] and all(0 < seconds < 60 for seconds in took), took


def test_a_failure_without_a_reason_is_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(work: EngineInput) -> EngineOutput:
        raise PageError("")

    bench = Bench(monkeypatch, ocr=mute)
    bench.put("ocr", "out")
    bench.run()
    result = bench.result()
    assert [(log.status, log.log) for log in result.logs] == [
        (StageStatus.FAILED, "scripted 1 failed and gave no reason")
    ] * 3


@pytest.mark.parametrize("limit", ["abc", "nan", "-1", "%(nothing)s"])
def test_a_typo_in_the_time_limit_is_that_stages_failure_alone(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    bench = Bench(monkeypatch, bad=recognise, ocr=recognise)
    stages = {
        "bad": Stage(name="bad", config=f"[WORKER]\nTIME_LIMIT={limit}\n", version="1"),
        "ocr": bench.coordinator.stage("ocr"),
    }
    monkeypatch.setattr(bench.coordinator, "stage", stages.__getitem__)
    bench.put("bad", "out")
    bench.put("ocr", "out")
    bench.run()
    assert bench.result().logs[0].stage == "ocr"
    assert bench.broker.length("bad") == 1 and bench.engines["bad"].seen == []


@pytest.mark.parametrize("error", [OSError("disk"), RecursionError("deep"), AttributeError("parts"), StageError("bad")])
def test_whatever_loading_raises_stops_no_other_stage(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    bench = Bench(monkeypatch, bad=recognise, ocr=recognise)

    def fetch(stage: Stage) -> Path:
        if stage.name == "bad":
            raise error
        return Path()

    monkeypatch.setattr(bench.worker._holding._models, "directory", fetch)
    bench.put("ocr", "out")
    bench.run()
    assert bench.result().logs[0].stage == "ocr"


def test_what_loading_takes_is_told_with_the_stage_and_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    loaded: list[tuple[object, ...]] = []
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        holding, "load_engine", lambda stage, *where: loaded.append((stage.name, *where)) or bench.engines[stage.name]
    )
    monkeypatch.setattr(bench.worker._holding._models, "directory", lambda stage: Path("models") / stage.name)
    in_use = iter([100, 350])
    monkeypatch.setattr(bench.worker._holding, "_memory_in_use", lambda: next(in_use))
    for name in ("report", "report_stages", "record_load"):
        real = getattr(bench.coordinator, name)
        monkeypatch.setattr(
            bench.coordinator, name, lambda *what, name=name, real=real: (told.append((name, *what)), real(*what))
        )
    bench.put("ocr", "out")
    bench.run()
    assert loaded == [("ocr", Path("models/ocr"), "cpu")]
    (load,) = [what for what in told if what[0] == "record_load"]
    assert load[1] == "ocr" and 0 < float(str(load[2])) < 60 and load[3] == 250
    assert ("report_stages", "worker", {"ocr": "ocr-v1"}, {}) in told
    assert ("report", "worker", WorkerStatus.CONFIGURING, "") in told


def test_why_a_stage_cannot_be_loaded_is_said_once_and_again_when_it_changes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(monkeypatch, bad=recognise)
    reasons = iter(["no such file", "no such file", "no such file", "the archive is damaged", "the archive is damaged"])

    def fetch(stage: Stage) -> Path:
        raise StageError(next(reasons, "the archive is damaged"))

    monkeypatch.setattr(bench.worker._holding._models, "directory", fetch)
    bench.run(400)
    said = [record.getMessage() for record in caplog.records if "cannot be loaded" in record.getMessage()]
    assert said == [
        "stage bad, version bad-v1, cannot be loaded: no such file",
        "stage bad, version bad-v1, cannot be loaded: the archive is damaged",
    ]


class Versions(Bench):
    """The versions of one stage, `ocr`: the current one is `version`, and `broken` says why one cannot be loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broken: dict[str, Exception]) -> None:
        super().__init__(monkeypatch, ocr=recognise)
        self.version = "1"
        self.broken = broken
        self.loads: list[str] = []
        self.made: dict[str, ScriptedEngine] = {}
        self.told: list[tuple[dict[str, str], dict[str, str]]] = []
        monkeypatch.setattr(self.coordinator, "stage", lambda name: Stage(name=name, config="", version=self.version))
        monkeypatch.setattr(
            self.coordinator, "report_stages", lambda _, held, refused: self.told.append((held, refused))
        )

    def load(self, stage: Stage, directory: Path, device: str) -> Engine:
        self.loads.append(stage.version)
        if stage.version in self.broken:
            raise self.broken[stage.version]
        self.made[stage.version] = ScriptedEngine(recognise)
        return self.made[stage.version]

    def done_by(self) -> str:
        """Returns the version of the stage that processed a page."""
        self.put("ocr", "out")
        self.run(4)
        return self.result().logs[0].version


def test_the_version_that_works_is_kept_until_the_new_one_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Versions(monkeypatch, {"2": StageError("ocr.pt is cut off")})
    monkeypatch.setattr(bench.worker._holding, "close", lambda: None)
    assert bench.done_by() == "1"
    bench.version = "2"
    assert bench.done_by() == "1"
    assert bench.told[-1] == ({"ocr": "1"}, {"ocr": "ocr.pt is cut off"})
    bench.version = "3"
    assert bench.done_by() == "3"
    assert bench.told[-1] == ({"ocr": "3"}, {})
    assert {version: engine.closed for version, engine in bench.made.items()} == {"1": True, "3": False}
    assert bench.loads == ["1", "2", "3"], "a version that cannot be loaded is not tried all the time"


def test_what_does_not_fit_beside_the_old_version_takes_its_place_or_gives_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Versions(monkeypatch, {"2": RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")})
    monkeypatch.setattr(bench.worker._holding, "close", lambda: None)
    assert bench.done_by() == "1"
    bench.version = "2"
    assert bench.done_by() == "1"
    assert bench.loads == ["1", "2", "2", "1"]


def test_what_a_stage_lacked_may_come_and_trying_is_not_all_that_a_worker_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Versions(monkeypatch, {"1": StageError("the store has no such file")})
    clock = StandingClock()
    bench.worker._holding._clock = clock
    tries = []
    for second in range(100):
        clock.seconds = float(second)
        if second == 80:
            bench.broken.clear()
        before = len(bench.loads)
        bench.worker._holding.follow(bench.coordinator.assignment("worker"))
        tries.extend([second] * (len(bench.loads) - before))
    assert tries == [0, 10, 40, 70]
    clock.seconds = 100.0
    bench.worker._holding.follow(bench.coordinator.assignment("worker"))
    assert list(bench.worker._holding.loaded) == ["ocr"]


def test_a_store_that_is_away_for_one_stage_does_not_keep_the_next_from_being_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, away=recognise, ocr=recognise)

    def load(stage: Stage, directory: Path, device: str) -> Engine:
        if stage.name == "away":
            raise TransientError("the store is away")
        return bench.engines[stage.name]

    monkeypatch.setattr(holding, "load_engine", load)
    bench.put("ocr", "out")
    bench.run()
    assert bench.result().logs[0].stage == "ocr"


def test_a_page_that_is_given_back_again_and_again_while_others_go_well_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def shaky(work: EngineInput) -> EngineOutput:
        if work.name == "bad.png":
            raise TransientError("the GPU is gone")
        return recognise(work)

    bench = Bench(monkeypatch, ocr=shaky)
    bad = Request(uuid="r", page_uuid="bad", stages=("ocr", "out"), results=(Payload(name="bad.png", content=b"1"),))
    bench.broker.publish("ocr", encode_request(bad))
    bench.run(100)
    assert bench.broker.length("out") == 0, "nothing goes well: it is not the page's fault"
    done = []
    for _ in range(15):
        bench.put("ocr", "out")
        bench.run(80)
        while (delivery := bench.broker.get(("out",), "test", 0)) is not None:
            done.append(decode_request(delivery.body))
    failed = [request for request in done if request.failed]
    assert len(done) == 16 and [request.page_uuid for request in failed] == ["bad"]
    assert "given back 10 times while other pages went well" in failed[0].logs[-1].log
    assert "the GPU is gone" in failed[0].logs[-1].log


def test_what_can_never_be_handed_on_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    hand_on = bench.broker.hand_on

    def refusing(delivery: Delivery, queue: str, body: bytes, priority: int = 0) -> None:
        if b"bad.png" in body:
            raise TransientError("RabbitMQ refused: strange")
        hand_on(delivery, queue, body, priority)

    monkeypatch.setattr(bench.broker, "hand_on", refusing)
    bad = Request(uuid="r", page_uuid="bad", stages=("ocr", "out"), results=(Payload(name="bad.png", content=b"1"),))
    bench.broker.publish("ocr", encode_request(bad))
    for _ in range(15):
        bench.put("ocr", "out")
    bench.run(400)
    (letter,) = bench.broker.take_set_aside()
    assert "could not be handed on 20 times in a row: RabbitMQ refused: strange" in letter.reason
    assert bench.broker.length("out") == 15 and bench.broker.length("ocr") == 0


def test_deaths_in_one_stage_do_not_count_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, layout=recognise, ocr=recognise)
    bench.put("layout", "ocr", "out")
    for _ in range(2):
        bench.broker.get(("layout",), "victim", 0)
        bench.broker.release("victim")
    bench.run()
    assert [(log.stage, log.attempt) for log in bench.result().logs] == [("layout", 3), ("ocr", 1)]


def test_an_image_is_decoded_once_for_all_held_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, layout=recognise, ocr=recognise)
    monkeypatch.setattr(ScriptedEngine, "needs_image", True)
    decoded: list[str] = []
    picture = BytesIO()
    Picture.new("RGB", (10, 10)).save(picture, "PNG")
    monkeypatch.setattr(
        "pero_worker.inputs.images.decode_scan",
        lambda *given, **how: (decoded.append("x"), decode_scan(*given, **how))[1],
    )
    request = Request(
        uuid="r",
        page_uuid="p",
        stages=("layout", "ocr", "out"),
        results=(Payload(name="a.png", content=picture.getvalue()),),
    )
    bench.broker.publish("layout", encode_request(request))
    bench.run()
    assert len(bench.result().logs) == 2 and decoded == ["x"]


def test_results_are_kept_when_only_the_next_queue_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    bench.put("ocr", "nowhere", "out")
    bench.run()
    result = bench.result()
    assert result.failed and "nowhere" in result.logs[-1].log
    assert [payload.name for payload in result.results] == ["a.png", "a.png_page.xml", "a.png.logits"]


def test_a_worker_whose_only_stage_cannot_be_fetched_waits_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    tries = iter([True, True])

    def load(stage: Stage, directory: Path, device: str) -> Engine:
        if next(tries, False):
            raise TransientError("the store is away")
        return bench.engines[stage.name]

    said: list[tuple[WorkerStatus, str]] = []
    monkeypatch.setattr(holding, "load_engine", load)
    monkeypatch.setattr(bench.coordinator, "report", lambda _, status, message="": said.append((status, message)))
    bench.put("ocr", "out")
    bench.run(20)
    assert bench.result().logs[0].stage == "ocr"
    assert said.count((WorkerStatus.CONFIGURATION_FAILED, "the store is away")) == 2
    assert sum(bench.clock.slept) == 0.25 + 0.5


class Notes:
    """`ports.Suspects` and a broker's `give_back`, in the order in which they are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def begin_suspect(self, page: str) -> int:
        self.calls.append("begin")
        return 0

    def end_suspect(self, page: str, *, survived: bool) -> None:
        self.calls.append(f"end, survived={survived}")


def test_the_note_is_taken_back_before_another_worker_can_have_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def shaky(work: EngineInput) -> EngineOutput:
        raise TransientError("the GPU is gone")

    bench, notes = Bench(monkeypatch, ocr=shaky), Notes()
    monkeypatch.setattr(bench.worker._suspicion, "_suspects", notes)
    get, give_back = bench.broker.get, bench.broker.give_back

    def get_again(queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        delivery = get(queues, consumer, timeout)
        return replace(delivery, redelivered=True) if delivery else None

    monkeypatch.setattr(bench.broker, "get", get_again)
    monkeypatch.setattr(bench.broker, "give_back", lambda page: (notes.calls.append("back"), give_back(page)))
    bench.put("ocr", "out")
    bench.run(1)
    assert notes.calls == ["begin", "end, survived=False", "back"]


@pytest.mark.parametrize("goes_wrong", [False, True])
def test_a_hanging_engine_is_left_behind_with_its_process(monkeypatch: pytest.MonkeyPatch, goes_wrong: bool) -> None:
    """Whatever then goes wrong with the page: a process that stayed would hang forever."""
    hangs, ended = threading.Event(), threading.Event()

    def hang(work: EngineInput) -> EngineOutput:
        hangs.wait()
        return EngineOutput()

    bench = Bench(monkeypatch, ocr=hang)
    bench.coordinator._stages["ocr"] = Stage(name="ocr", config="[WORKER]\nTIME_LIMIT = 0.05\n", version="1")
    monkeypatch.setattr(bench.worker, "_settings", WorkerSettings(poll=0, end_process=ended.set))
    if goes_wrong:
        monkeypatch.setattr(StageRunner, "too_slow", lambda *_: 1 / 0)
        monkeypatch.setattr(threading, "excepthook", lambda _: None)
    bench.put("ocr", "out")
    threading.Thread(target=bench.run, daemon=True).start()
    assert ended.wait(30)
    if not goes_wrong:
        delivery = bench.broker.get(("ocr",), "test", 10)
        assert delivery is not None
        assert "took longer than 0.05 s" in decode_request(delivery.body).logs[-1].log


def test_a_worker_does_not_end_before_its_pages_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, ocr=recognise)
    late: list[threading.Timer] = []

    def hand_on_soon(
        delivery: Delivery, queue: str, body: bytes, priority: int, done: Callable[[PeroWorkerError | None], None]
    ) -> None:
        def arrive() -> None:
            bench.broker.hand_on(delivery, queue, body, priority)
            done(None)

        late.append(threading.Timer(0.1, arrive))
        late[-1].start()

    monkeypatch.setattr(bench.broker, "hand_on_soon", hand_on_soon)
    for _ in range(3):
        bench.put("ocr", "out")
    bench.run()
    assert bench.broker.length("out") == 3 and not bench.worker.busy
    for timer in late:
        timer.join()


def test_a_page_on_its_way_out_is_no_suspect_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one may kill the process before it has arrived."""
    bench, notes = Bench(monkeypatch, ocr=recognise), Notes()
    monkeypatch.setattr(bench.worker._suspicion, "_suspects", notes)
    get, send = bench.broker.get, bench.broker.hand_on_soon

    def get_again(queues: Sequence[str], consumer: str, timeout: float) -> Delivery | None:
        delivery = get(queues, consumer, timeout)
        return replace(delivery, redelivered=True) if delivery else None

    monkeypatch.setattr(bench.broker, "get", get_again)
    monkeypatch.setattr(bench.broker, "hand_on_soon", lambda *page: (notes.calls.append("send"), send(*page)))
    bench.put("ocr", "out")
    bench.run()
    assert notes.calls == ["begin", "end, survived=True", "send"]
