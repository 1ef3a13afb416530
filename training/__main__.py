"""python -m training prepare | recogniser | layout | export | evaluate | all: see training/README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from training import layout, loop, nets, recogniser
from training.prepare import prepare
from training.sources import FIGURES

_TEMPLATE = Path(__file__).parent.parent / "src" / "pero_worker" / "pipelines" / "print-latin"


def tell(message: str) -> None:
    print(time.strftime("%H:%M:%S"), message, flush=True)


def fetch(given: argparse.Namespace) -> None:
    """Fetches packages and indexes their faces and texts."""
    prepare(given.data, tell)


def train_recogniser(given: argparse.Namespace) -> None:
    """Trains the recogniser into OUT: checkpoint.pt, record.json, ocr.pt and ocr.json."""
    device = _set_up(given)
    net = nets.Recogniser(given.size)
    if given.start_from:
        nets.start_from(net, given.start_from)
        recogniser.tune(net)
    net = net.to(device)
    data = recogniser.LineBatches(given.data, given.seed, given.columns, given.longest, given.figures)
    _finish(
        loop.train(
            net,
            lambda start: recogniser.batches(data.from_start(start), given.workers),
            recogniser.loss_of,
            recogniser.Validation(given.data, given.validate, given.figures),
            _schedule(given),
            given.out,
            _about(given),
            tell,
        ),
        given.out / "ocr.pt",
    )


def train_layout(given: argparse.Namespace) -> None:
    """Trains the layout net into OUT: checkpoint.pt, record.json and parsenet.pt."""
    device = _set_up(given)
    net = nets.ParseNet(given.size)
    if given.start_from:
        nets.start_from(net, given.start_from)
    net = net.to(device, memory_format=torch.channels_last)
    data = layout.Crops(given.data, given.seed, given.side)
    _finish(
        loop.train(
            net,
            lambda start: layout.batches(data.from_start(start), given.batch, given.workers),
            layout.loss_of,
            layout.Validation(given.data, given.side, given.validate, given.batch),
            _schedule(given),
            given.out,
            _about(given),
            tell,
        ),
        given.out / "parsenet.pt",
    )


def export(given: argparse.Namespace) -> None:
    """Writes the averaged weights of a checkpoint as TorchScript, while training goes on or after it was cut off."""
    net = nets.Recogniser(given.size) if given.net == "recogniser" else nets.ParseNet(given.size)
    state = torch.load(given.out / "checkpoint.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(state["mean"])
    _finish(net, given.out / ("ocr.pt" if given.net == "recogniser" else "parsenet.pt"))


def evaluate(given: argparse.Namespace) -> None:
    """CER of an exported recogniser on drawn lines of texts and families that were kept out of training."""
    net = torch.jit.load(str(given.model), map_location="cpu").eval()
    for kind, rate in recogniser.Validation(given.data, given.lines)(net).items():
        print(f"{kind}: CER {100 * rate:.2f} %")


def everything(given: argparse.Namespace) -> None:
    """Data, both nets from nothing, and a pipeline folder that `pero-worker ocr --pipeline` takes."""
    prepare(given.data, tell)
    share = {"recogniser": 0.5, "layout": 0.5}
    for name, run in (("recogniser", train_recogniser), ("layout", train_layout)):
        own = ["--minutes", str(given.minutes * share[name]), "--seed", str(given.seed)]
        run(_parser().parse_args([name, str(given.data), str(given.out / name), *own]))
    pipeline = given.out / "pipeline"
    pipeline.mkdir(exist_ok=True)
    sources = [_TEMPLATE / "config.ini", _TEMPLATE / "pipeline.toml", given.out / "layout" / "parsenet.pt"]
    for source in [*sources, given.out / "recogniser" / "ocr.pt", given.out / "recogniser" / "ocr.json"]:
        shutil.copy(source, pipeline)
    tell(f"the pipeline is in {pipeline}")


def _set_up(given: argparse.Namespace) -> torch.device:
    if not (given.data / "fonts.json").is_file():
        sys.exit(f"{given.data} holds no data: python -m training prepare {given.data}")
    if not (given.minutes or given.steps):
        sys.exit("say how long: --minutes or --steps")
    torch.manual_seed(given.seed)
    if given.threads:
        torch.set_num_threads(given.threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _schedule(given: argparse.Namespace) -> loop.Schedule:
    return loop.Schedule(
        given.minutes, given.steps, given.rate, warm_up=given.warm_up, validate_every=given.validate_every
    )


def _about(given: argparse.Namespace) -> dict[str, Any]:
    versions = given.data / "versions.json"
    arguments = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    del arguments["run"]
    return {"arguments": arguments, "data": json.loads(versions.read_text("utf-8")) if versions.is_file() else None}


def _finish(net: torch.nn.Module, path: Path) -> None:
    nets.export(net, path)
    tell(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    cores = max(1, (os.cpu_count() or 2) - 1)

    def command(name: str, run: Any, *places: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__.partition(":")[0])
        made.set_defaults(run=run)
        for place in places:
            made.add_argument(place, type=Path)
        return made

    command("prepare", fetch, "data")
    for name, run, rate in (("recogniser", train_recogniser, 2e-3), ("layout", train_layout, 2e-3)):
        training = command(name, run, "data", "out")
        training.add_argument("--size", default="small", help="tiny, small or base")
        training.add_argument("--minutes", type=float, default=0.0)
        training.add_argument("--steps", type=int, default=0)
        training.add_argument("--rate", type=float, default=rate)
        training.add_argument("--warm-up", type=int, default=150)
        training.add_argument("--workers", type=int, default=cores, help="processes that draw")
        training.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
        training.add_argument("--seed", type=int, default=1)
        training.add_argument("--start-from", type=Path, help="an exported net of the same size to tune")
        training.add_argument("--validate-every", type=float, default=120.0, help="seconds")
    lines = commands.choices["recogniser"]
    lines.add_argument("--columns", type=int, default=120_000, help="of pixels in a batch")
    lines.add_argument("--longest", type=int, default=90, help="characters of a line")
    lines.add_argument("--figures", type=float, default=FIGURES, help="share of lines of numbers and random letters")
    lines.add_argument("--validate", type=int, default=200, help="lines of each kind of face")
    crops = commands.choices["layout"]
    crops.add_argument("--side", type=int, default=640, help="pixels of a crop, a multiple of 64")
    crops.add_argument("--batch", type=int, default=32, help="crops")
    crops.add_argument("--validate", type=int, default=4, help="batches")
    exporting = command("export", export, "out")
    exporting.add_argument("net", choices=["recogniser", "layout"])
    exporting.add_argument("--size", default="small")
    evaluating = command("evaluate", evaluate, "model", "data")
    evaluating.add_argument("--lines", type=int, default=500, help="of each kind of face")
    together = command("all", everything, "data", "out")
    together.add_argument("--minutes", type=float, default=60.0, help="of training, both nets together")
    together.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    arguments = _parser().parse_args()
    arguments.run(arguments)
