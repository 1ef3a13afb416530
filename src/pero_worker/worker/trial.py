"""Tries a stage before it is published, in a process of its own, which may crash or hang."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from PIL import Image as Picture
from PIL import ImageDraw

from pero_worker.clock import SystemClock
from pero_worker.engines import load_engine
from pero_worker.engines.registry import engine_name, installed_engines
from pero_worker.errors import PageError, PeroWorkerError, StageError
from pero_worker.page import Line, Page, Region
from pero_worker.request import Payload
from pero_worker.stage import Stage
from pero_worker.supervisor import spawn
from pero_worker.worker.payloads import ImageReader
from pero_worker.worker.single import process_page
from pero_worker.worker.steps import LoadedStage
from pero_worker.worker.timelimit import limit_of

DEFAULT_SECONDS = 300.0
_WIDTH, _HEIGHT = 640, 240
_TEXT = ("The quick brown fox jumps", "over the lazy dog.")
_NAME = "trial.png"
_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The outcome of a trial."""

    done: bool
    """Whether the stage could be tried here."""
    reason: str = ""
    """Why it could not be tried."""


def try_stage(stage: Stage, *, device: str = "cpu", seconds: float = DEFAULT_SECONDS) -> Trial:
    """Loads the stage, whose `directory` is on this machine, and has it process a page.

    Raises `StageError` if that fails or takes longer than `seconds`. Tries nothing if this machine lacks the engine.
    """
    limit_of(stage)
    engine = engine_name(stage.parsed())
    missing = [one for one in installed_engines() if one.name == engine and not one.available]
    if missing:
        return Trial(done=False, reason=f"this machine lacks the engine {engine}: {missing[0].note}")
    ours, theirs = Pipe()
    process = spawn(_try, theirs, stage, device, engine != "dummy", name="trial", device=device)
    theirs.close()
    try:
        if not ours.poll(seconds):
            raise StageError(f"stage {stage.name}: loading it and doing a page took longer than {seconds:g} s")
        failure = ours.recv()
    except (EOFError, OSError):
        process.join(_END_SECONDS)
        raise StageError(f"stage {stage.name}: the process that tried it died ({process.exitcode})") from None
    finally:
        ours.close()
        process.kill()
        process.join(_END_SECONDS)
    if failure:
        raise StageError(failure)
    return Trial(done=True)


def _try(connection: Connection, stage: Stage, device: str, with_page: bool) -> None:
    """Entry point of the process. Sends why the trial failed, or '' if it did not."""
    _be_silent()
    try:
        connection.send(_failure(stage, device, with_page=with_page))
    except OSError:
        return


def _failure(stage: Stage, device: str, *, with_page: bool) -> str:
    if stage.directory is None:
        return f"stage {stage.name} has no model folder on this machine"
    try:
        engine = load_engine(stage, stage.directory, device)
        if with_page:
            loaded = LoadedStage(stage=stage, engine=engine)
            images = ImageReader(max_pixels=_WIDTH * _HEIGHT)
            process_page((loaded,), Payload(name=_NAME, content=_picture()), images, SystemClock(), _page())
    except PageError as error:
        return f"stage {stage.name} can be loaded, but fails on a page: {error}"
    except PeroWorkerError as error:
        return str(error)
    except Exception as error:  # a plugin may raise anything
        return f"stage {stage.name}: {type(error).__name__}: {error}"
    return ""


def _picture() -> bytes:
    """Returns a small page with two lines of text, as PNG."""
    picture = Picture.new("L", (_WIDTH, _HEIGHT), 245)
    draw = ImageDraw.Draw(picture)
    for number, text in enumerate(_TEXT):
        draw.text((40, 50 + 80 * number), text, fill=20, font_size=40)
    stream = BytesIO()
    picture.convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def _page() -> Page:
    """Returns the layout of that page, as earlier stages may have found it."""
    box = ((30.0, 40.0), (610.0, 40.0), (610.0, 200.0), (30.0, 200.0))
    lines = tuple(
        Line(
            id=f"l{number}",
            baseline=((40.0, 90.0 + 80 * number), (600.0, 90.0 + 80 * number)),
            polygon=(
                (40.0, 50.0 + 80 * number),
                (600.0, 50.0 + 80 * number),
                (600.0, 102.0 + 80 * number),
                (40.0, 102.0 + 80 * number),
            ),
            heights=(38.0, 12.0),
        )
        for number in range(len(_TEXT))
    )
    return Page(name=_NAME, width=_WIDTH, height=_HEIGHT, regions=(Region(id="r1", polygon=box, lines=lines),))


def _be_silent() -> None:
    """Discards whatever libraries print: the terminal belongs to the parent."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
