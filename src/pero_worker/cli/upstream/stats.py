"""scripts/stats.py: shows how long downloaded pages took."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pero_worker.cli.say import say, warn
from pero_worker.cluster.pages.timing import Interval, Timing, saved_requests
from pero_worker.errors import ExitCode, NoInputError


def main(arguments: Sequence[str], localtime: Callable[[], time.struct_time] = time.localtime) -> int:
    parser = argparse.ArgumentParser(
        description="Tells how long pages took, from their saved messages. "
        "pero-worker with the flags of DCGM/pero-worker.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-d", "--directory", type=Path, required=True, metavar="DIR", help="folder of a download with --save-message"
    )
    parser.add_argument("-r", "--raw", action="store_true", help="lines without time and level before them")
    parser.add_argument("-s", "--short", action="store_true", help="without start, end and seconds of every page")
    options = parser.parse_args(arguments)
    timing, broken, read = Timing(), 0, 0
    for file, request in saved_requests(options.directory):
        if isinstance(request, str):
            broken += 1
            warn(f"{file} is left out: {request}")
        else:
            read += 1
            timing.add(request)
    if not read and not broken:
        raise NoInputError(f"no messages lie in {options.directory}: download with --save-message")
    lines = [*_summary(timing), *([] if options.short else _timelines(timing))]
    head = "" if options.raw else time.strftime("%Y-%m-%d %H:%M:%S INFO ", localtime())
    for line in lines:
        say(f"{head}{line}")
    return ExitCode.SOME_PAGES_FAILED if broken else ExitCode.OK


def _summary(timing: Timing) -> Iterator[str]:
    yield f"Message count: {len(timing.pages)}"
    yield f"Failed message count: {timing.failed}"
    yield from _spread("message total processing", timing.pages)
    for name, stage in timing.stages.items():
        yield f"Statistics for stage {name}:"
        yield f"Total stage message count: {len(stage.runs)}"
        yield f"Total stage failed messages: {stage.failed}"
        yield from _spread("stage processing", stage.runs)
        yield from _spread("stage waiting", stage.waits)
    for pipeline, pages in timing.pipelines.items():
        yield f"Statistics for pipeline {' -> '.join(pipeline)}:"
        yield f"Total pipeline message count: {len(pages)}"
        yield from _spread("pipeline total processing", pages)


def _spread(what: str, spans: Sequence[Interval]) -> Iterator[str]:
    seconds = [span.seconds for span in spans]
    if seconds:
        yield f"Average {what} time: {statistics.fmean(seconds):.6f}"
        yield f"Minimal {what} time: {min(seconds):.6f}"
        yield f"Maximal {what} time: {max(seconds):.6f}"


def _timelines(timing: Timing) -> Iterator[str]:
    yield "Total timeline statistics:"
    yield from _timeline(timing.pages)
    for name, stage in timing.stages.items():
        yield f"Processing timeline for stage {name}:"
        yield from _timeline(stage.runs)
        yield f"Wait timeline for stage {name}:"
        yield from _timeline(stage.waits)
    for pipeline, pages in timing.pipelines.items():
        yield f"Timeline statistics for pipeline: {' -> '.join(pipeline)}"
        yield from _timeline(pages)


def _timeline(spans: Sequence[Interval]) -> Iterator[str]:
    for span in sorted(spans):
        yield f"{span.start.isoformat()} {span.end.isoformat()} {span.seconds:.6f}"
