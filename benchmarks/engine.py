"""`make bench-engine`: how busy one process keeps its device, from a bare loop to several pages in hand at a time.

    python benchmarks/engine.py [PAGES_DIR] [--device cpu|cuda:0] [--pages N] [--pipeline NAME]

Each step reads the same pages once to warm up and once for the figures. *Busy* is the share of the time during which a
network was running; CPU seconds show what a step costs when others use the machine, too. Without --device it measures
the CPU, and a GPU if there is one. The last column counts the lines that read differently from one page at a time.
"""

from __future__ import annotations

import argparse
import configparser
import io
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pero_worker.engines import load_engine
from pero_worker.formats import alto, pagexml
from pero_worker.inputs.documents import read_page
from pero_worker.models.pipelines import load_pipeline, pipeline_cache
from pero_worker.page import Page
from pero_worker.ports import Engine
from pero_worker.work import EngineInput
from pero_worker.worker.upright import process_upright

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
MAX_PIXELS = 10**9
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Meter:
    """Records when networks were running, in whichever thread."""

    device: str
    """Device of the networks."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each call, in seconds."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watched(self, network: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the network, timed. On a GPU a call lasts until its result is ready, for which another thread
        waits."""

        def call(*given: Any) -> Any:
            begun = time.perf_counter()
            result = network(*given)
            if self.device == "cpu":
                self._add(begun)
            else:
                done = torch.cuda.Event()
                done.record()
                threading.Thread(target=self._wait, args=(done, begun)).start()
            return result

        return call

    def _wait(self, done: Any, begun: float) -> None:
        done.synchronize()
        self._add(begun)

    def _add(self, begun: float) -> None:
        with self._lock:
            self.spans.append((begun, time.perf_counter()))

    def busy(self) -> float:
        """Returns the seconds during which at least one call was running."""
        total = end = 0.0
        for first, last in sorted(self.spans):
            total += max(0.0, last - max(first, end))
            end = max(end, last)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of a step of the ladder."""

    name: str
    """What the step does differently from the one before."""
    pages: int
    """Number of pages read."""
    wall: float
    """Seconds that all pages took."""
    cpu: float
    """CPU seconds of all threads."""
    busy: float
    """Seconds during which a network was running."""
    phases: Counter[str]
    """Seconds of each phase, over all threads."""
    texts: tuple[tuple[str, ...], ...]
    """Lines of each page."""


def networks_of(engine: Any) -> Iterator[tuple[Any, str]]:
    """Yields the places that hold the networks of a loaded stage: object and attribute."""
    for layout in engine._parser.layout_parsers:
        if (net := getattr(getattr(layout, "engine", None), "parsenet", None)) is not None:
            yield net, "net"
    for reader in engine._readers:
        yield reader.recogniser, "model"


@contextmanager
def measured(
    networks: Sequence[tuple[Any, str]], device: str, pages: int, name: str, into: list[Measured]
) -> Iterator[tuple[Counter[str], list[tuple[str, ...]]]]:
    """Measures what the block takes; the block adds phases and texts."""
    meter = Meter(device=device)
    before = [getattr(holder, place) for holder, place in networks]
    for (holder, place), network in zip(networks, before, strict=True):
        setattr(holder, place, meter.watched(network))
    phases: Counter[str] = Counter()
    texts: list[tuple[str, ...]] = []
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield phases, texts
    finally:
        for (holder, place), network in zip(networks, before, strict=True):
            setattr(holder, place, network)
    into.append(
        Measured(
            name=name,
            pages=pages,
            wall=time.perf_counter() - wall,
            cpu=time.process_time() - cpu,
            busy=meter.busy(),
            phases=phases,
            texts=tuple(texts),
        )
    )


def one_page(engine: Engine, path: Path) -> tuple[tuple[str, ...], Counter[str]]:
    """Decodes and reads a page and writes PAGE and ALTO, as a worker and a run do."""
    begun = time.perf_counter()
    scan = read_page(path, 0)
    decoded = time.perf_counter()
    work = EngineInput(name=path.name, size=path.stat().st_size)
    output = process_upright(engine, work, scan, max_pixels=MAX_PIXELS, rotate=False)
    read = time.perf_counter()
    page = output.page or Page(name=path.name, width=1, height=1)
    for write in (pagexml.write, alto.write):
        write(page, created=CREATED, creator="bench")
    seconds = Counter({"decode": decoded - begun, **output.seconds, "write": time.perf_counter() - read})
    return tuple(line.text or "" for line in page.lines()), seconds


def bare(model: Path, device: str, images: Sequence[Path], into: list[Measured]) -> None:
    """Measures the loop that users of pero-ocr write by hand, with our fixes but unchanged networks."""
    import cv2  # noqa: PLC0415
    from pero_ocr.core.layout import PageLayout  # noqa: PLC0415
    from pero_ocr.document_ocr.page_parser import PageParser  # noqa: PLC0415

    config = configparser.ConfigParser()
    config.read(model / "config.ini")
    with redirect_stdout(io.StringIO()):
        parser = PageParser(config, config_path=str(model), device=torch.device(device))
    engines: list[Any] = [getattr(step, "engine", None) for step in parser.layout_parsers]
    networks = [(engine.parsenet, "net") for engine in engines if hasattr(engine, "parsenet")]
    networks.append((parser.ocr.ocr_engine, "model"))

    def once() -> Iterator[tuple[str, ...]]:
        for path in images:
            image: Any = cv2.imread(str(path), 1)
            layout = parser.process_page(image, PageLayout(id=path.name, page_size=image.shape[:2]))
            layout.to_pagexml_string()
            layout.to_altoxml_string()
            yield tuple(line.transcription or "" for line in layout.lines_iterator())

    with redirect_stdout(io.StringIO()):
        list(once())
        with measured(networks, device, len(images), "bare loop of pero-ocr", into) as (_, texts):
            texts.extend(once())


def ladder(pipeline: str, device: str, images: Sequence[Path]) -> list[Measured]:
    """Measures each step, from the bare loop to several pages in hand at a time."""
    stage = load_pipeline(pipeline, cache=pipeline_cache()).stages[0]
    if stage.directory is None:
        sys.exit(f"{pipeline} has no files here")
    steps: list[Measured] = []
    engine: Any = load_engine(stage, stage.directory, device)
    torch.set_num_threads(1)
    bare(stage.directory, device, images, steps)
    networks = list(networks_of(engine))
    for name, threads in (("one page at a time", 1), ("2 pages in hand", 2), ("4 pages in hand", 4), ("8 pages", 8)):
        if threads > max(2, 2 * engine.pages_at_once):
            continue
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda path: one_page(engine, path), images))
            with measured(networks, device, len(images), name, steps) as (phases, texts):
                for lines, seconds in pool.map(lambda path: one_page(engine, path), images):
                    texts.append(lines)
                    phases.update(seconds)
    return steps


def show(device: str, steps: Sequence[Measured]) -> None:
    alone = steps[1]
    print(f"\n{device}, {alone.pages} pages\n")
    print("| step | pages/s | x the bare loop | CPU s a page | busy | lines that read otherwise |")
    print("| --- | --- | --- | --- | --- | --- |")
    for step in steps:
        other: object = "-"
        if step is not steps[0]:
            pairs = zip(step.texts, alone.texts, strict=True)
            other = sum(a != b for one, two in pairs for a, b in zip(one, two, strict=False))
        speed, first = step.pages / step.wall, steps[0].pages / steps[0].wall
        print(
            f"| {step.name} | {speed:.2f} | {speed / first:.2f} | {step.cpu / step.pages:.2f} "
            f"| {step.busy / step.wall:.0%} | {other} |"
        )
    print("\nSeconds a page by phase, of one page at a time and of the last step (each phase with its waiting):\n")
    print("| " + " | ".join(("step", *alone.phases)) + " |")
    print("| " + " | ".join(["---"] * (1 + len(alone.phases))) + " |")
    for step in (alone, steps[-1]):
        figures = (f"{step.phases[phase] / step.pages:.3f}" for phase in alone.phases)
        print("| " + " | ".join((step.name, *figures)) + " |", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?", type=Path, default=Path("../shared/pages"))
    arguments.add_argument("--device", action="append", help="may be repeated")
    arguments.add_argument("--pages", type=int, default=0, help="only the first N pages")
    arguments.add_argument("--pipeline", default="print-latin")
    given = arguments.parse_args()
    images = sorted(path for path in given.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    images = images[: given.pages] if given.pages else images
    for device in given.device or ["cpu", *(["cuda:0"] if torch.cuda.is_available() else [])]:
        show(device, ladder(given.pipeline, device, images))


if __name__ == "__main__":
    main()
