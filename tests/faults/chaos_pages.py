"""What is sent through the cluster under fire, and what must come out of it."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.resulttree import ResultTree
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.coordinators.null import NoReports, NoSuspects
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.local.process import StagesOnDisk
from pero_worker.request import Payload, Request
from pero_worker.stage import Stage
from pero_worker.wire.requests import decode_request, encode_request
from pero_worker.worker.loop import Worker, WorkerSettings
from pero_worker.worker.payloads import ImageReader
from pero_worker.worker.steps import StageRunner

GOOD, BAD, KILLER, HANGING, GARBAGE = "good", "bad", "killer", "hanging", "garbage"
_DUMMY = "[WORKER]\nDUMMY = yes\nTIME_SCALE = 0\nTIME_DIFF_MIN = 0\nTIME_DIFF_MAX = {longest}\nLINE = {name}\n"
_TIMES = re.compile(rb"<(Created|LastChange)>[^<]*<")


@dataclass(frozen=True)
class Pipeline:
    """`stages`: name to config.ini; pages take one of the `routes` in turn. `images`: file name to content; without
    any, pages are a few bytes that no engine looks at. `directory` holds the stages' model files."""

    stages: Mapping[str, str]
    routes: Sequence[tuple[str, ...]]
    images: Mapping[str, bytes]
    directory: Path


def dummies(folder: Path, longest: float) -> Pipeline:
    """Three stages that each add a line; pages skip the middle one in turn, and take up to `longest` seconds in each."""
    more = {
        "layout": f"KILL_NAME = {KILLER}*\n",
        "lines": f"HANG_NAME = {HANGING}*\nTIME_LIMIT = 5\n",
        "ocr": f"FAIL_NAME = {BAD}*\n",
    }
    stages = {name: _DUMMY.format(longest=longest, name=name) + text for name, text in more.items()}
    return Pipeline(stages, (("layout", "ocr"), ("layout", "lines", "ocr")), {}, folder)


@dataclass(frozen=True)
class Message:
    """`name` is the page's, and the one its results have."""

    name: str
    kind: str
    queue: str
    body: bytes


def messages(pipeline: Pipeline, counts: Mapping[str, int], chance: random.Random) -> list[Message]:
    """`counts` of every kind, mixed."""
    made = [_message(pipeline, kind, number) for kind, count in counts.items() for number in range(count)]
    chance.shuffle(made)
    return made


def _message(pipeline: Pipeline, kind: str, number: int) -> Message:
    route = pipeline.routes[-1 if kind == HANGING else number % len(pipeline.routes)]
    name = f"{kind}{number:05}"
    if kind == GARBAGE:
        # One that is not a request, and one with nowhere to go.
        page = Request(
            uuid=name, page_uuid=name, stages=(route[0],), results=(Payload(name=f"{name}.png", content=b""),)
        )
        return Message(name, kind, route[0], encode_request(page) if number % 2 else f"\xff {name}".encode("latin-1"))
    if pipeline.images:
        image, content = list(pipeline.images.items())[number % len(pipeline.images)]
        suffix = Path(image).suffix
    else:
        content, suffix = hashlib.sha256(name.encode()).digest() * (1 + number % 100), ".png"
    request = Request(
        uuid=name,
        page_uuid=name,
        stages=(*route, "out"),
        results=(Payload(name=f"{name}{suffix}", content=content),),
        source=name,
    )
    return Message(name, kind, route[0], encode_request(request))


def undisturbed(pipeline: Pipeline, sent: Sequence[Message], folder: Path) -> None:
    """The good pages, done by one worker without servers, written as `pero-worker download` writes them."""
    stages = [
        Stage(name=name, config=config, version="1", directory=pipeline.directory)
        for name, config in pipeline.stages.items()
    ]
    broker = MemoryBroker([*pipeline.stages, "out"])
    good = [message for message in sent if message.kind == GOOD]
    for message in good:
        broker.publish(message.queue, message.body)
    clock = SystemClock()
    worker = Worker(
        "undisturbed",
        broker=broker,
        assignments=MemoryCoordinator(stages),
        reports=NoReports(),
        suspects=NoSuspects(),
        models=StagesOnDisk(),
        runner=StageRunner(host="undisturbed", images=ImageReader(max_pixels=10**9), clock=clock),
        settings=WorkerSettings(poll=0),
    )
    worker.run(lambda: broker.length("out") == len(good))
    tree = ResultTree(OutputFolder(folder), ("page", "text"), clock)
    for _ in good:
        delivery = broker.get(("out",), "chaos", 0)
        assert delivery is not None
        tree.write(decode_request(delivery.body), delivery.body)
    tree.close()


def files_of(folder: Path) -> dict[str, bytes]:
    """Returns every result in the folder, without the times stated in PAGE XML."""
    return {path.name: _TIMES.sub(rb"<\1><", path.read_bytes()) for path in _results(folder)}


def _results(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        # Of pages that failed what they came with is kept; of a good one nothing must lie there.
        kept = any(part.endswith(".results") and not part.startswith(GOOD) for part in path.parts)
        if path.is_file() and not kept and path.name != "report.jsonl" and ".pero-worker" not in path.parts:
            yield path
