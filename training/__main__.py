"""python -m training prepare | recogniser | layout | export | evaluate | all: see training/README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pero_worker.engines.pero.int8 import RANGES
from pero_worker.training import loop
from pero_worker.training.alphabet import Alphabet
from pero_worker.training.batches import Loss
from pero_worker.training.network import learning, open_network, save_network, widen
from training import calibrate as calibration
from training import froc, layout, nets, recogniser
from training.alphabet import CHARACTERS
from training.prepare import prepare
from training.ranges import ranges
from training.sources import FIGURES

_PIPELINES = Path(__file__).parent.parent / "src" / "pero_worker" / "pipelines"


@dataclass(frozen=True, slots=True)
class _Part:
    net: str
    size: str
    share: float
    """Of all the minutes."""


_PARTS = (
    _Part("recogniser", "small", 0.5),
    _Part("layout", "tiny", 0.3),
    _Part("recogniser", "tiny", 0.2),
)


def tell(message: str) -> None:
    print(time.strftime("%H:%M:%S"), message, flush=True)


def fetch(given: argparse.Namespace) -> None:
    """Fetches packages and indexes their faces and texts."""
    prepare(given.data, tell)


def train_recogniser(given: argparse.Namespace) -> None:
    """Trains the recogniser into OUT: checkpoint.pt, record.json, ocr.pt and ocr.json."""
    device = _set_up(given)
    teacher, known = None, Alphabet(CHARACTERS)
    if given.teacher:
        teacher, known, _ = open_network(given.teacher)
        teacher.to(device).eval()
    net, alphabet, height = _recogniser(given, known)
    task = recogniser.Task(
        data=given.data, alphabet=alphabet, height=height, longest=given.longest, figures=given.figures,
        real=given.real, share=given.real_share,
    )  # fmt: skip
    data = recogniser.LineBatches(task, given.seed, given.columns)
    trained = loop.train(
        net.to(device),
        lambda start: recogniser.batches(data.from_start(start), given.workers),
        Loss(alphabet, teacher),
        recogniser.Validation(task, given.validate_lines),
        _schedule(given),
        given.out,
        _about(given),
        tell,
    )
    _write(trained, alphabet, height, given.out)


def _write(net: Any, alphabet: Alphabet, height: int, out: Path) -> None:
    save_network(net, alphabet, height, out / "ocr.json")
    tell(f"{out / 'ocr.pt'}: {(out / 'ocr.pt').stat().st_size / 1e6:.1f} MB")


def _recogniser(given: argparse.Namespace, alphabet: Alphabet) -> tuple[Any, Alphabet, int]:
    if not given.start_from:
        return nets.Recogniser(given.size, alphabet.blank + 1), alphabet, nets.LINE_HEIGHT
    net, known, height = open_network(given.start_from)
    alphabet = known.with_more(alphabet.characters)
    widen(net, known, alphabet)
    return learning(net), alphabet, height


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
            layout.Validation(given.data, given.side, given.validate_batches, given.batch),
            _schedule(given),
            given.out,
            _about(given),
            tell,
        ),
        given.out / "parsenet.pt",
    )


def export(given: argparse.Namespace) -> None:
    """Writes the averaged weights of a checkpoint as TorchScript, while training goes on or after it was cut off."""
    state = torch.load(given.out / "checkpoint.pt", map_location="cpu", weights_only=True)
    if given.net == "layout":
        net = nets.ParseNet(given.size)
        net.load_state_dict(state["mean"])
        _finish(net, given.out / "parsenet.pt")
        return
    reader, alphabet, height = _recogniser(given, Alphabet(CHARACTERS))
    reader.load_state_dict(state["mean"])
    _write(reader, alphabet, height, given.out)


def evaluate(given: argparse.Namespace) -> None:
    """CER of an exported recogniser on lines that were kept out of training: drawn, and real ones."""
    net, alphabet, height = open_network(given.model)
    task = recogniser.Task(data=given.data, alphabet=alphabet.with_more(CHARACTERS), height=height, real=given.real)
    validation = recogniser.Validation(task, given.lines)
    validation.alphabet = alphabet
    for kind, rate in validation(net.eval()).items():
        print(f"{kind}: CER {100 * rate:.2f} %")


def calibrate(given: argparse.Namespace) -> None:
    """Prints the CONFIDENCE of a recogniser for config.ini: what its probabilities are worth on real lines of `dev`;
    and its int8_ranges for ocr.json: how great the outputs of its convolutions are."""
    if given.threads:
        torch.set_num_threads(given.threads)
    net, alphabet, height = open_network(given.model)
    judged = calibration.judge(net.eval(), alphabet, height, given.real)
    letters, wrong = sum(line.letters for line in judged), sum(line.wrong for line in judged)
    print(f"{len(judged)} lines, CER {100 * wrong / letters:.2f} %")
    print(f"CONFIDENCE = {calibration.written(calibration.points(judged))}")
    if hasattr(net, "conv"):
        print(f'"{RANGES}": {ranges(net, height, given.real)}')


def convert_froc(given: argparse.Namespace) -> None:
    """Writes a recogniser out of the unpacked wheel of ocrd-froc as pero-ocr takes it: OUT gets ocr.pt and ocr.json."""
    froc.convert(given.wheel, given.out, given.group)


def everything(given: argparse.Namespace) -> None:
    """Data, and both bundled pipelines from nothing: folders that `pero-worker ocr --pipeline` takes."""
    if not (given.data / "fonts.json").is_file():
        prepare(given.data, tell)
    teacher = given.out / "recogniser-small" / "ocr.json"
    for part in _PARTS:
        own = {"out": given.out / f"{part.net}-{part.size}", "size": part.size, "minutes": given.minutes * part.share}
        if part.net == "recogniser":
            train_recogniser(_changed(given, **own, teacher=None if part.size == "small" else teacher))
        else:
            train_layout(_changed(given, **own))
    for size, name in (("small", "print-latin"), ("tiny", "print-latin-small")):
        made = given.out / name
        _begin_pipeline(_PIPELINES / name, made)
        layout_net, reader = given.out / "layout-tiny", given.out / f"recogniser-{size}"
        for file in (layout_net / "parsenet.pt", reader / "ocr.pt", reader / "ocr.json"):
            shutil.copy(file, made)
        tell(f"{made} is ready")


def _begin_pipeline(bundled: Path, made: Path) -> None:
    """Copies what a bundled pipeline says of itself, with one reader whose confidences nobody has measured."""
    made.mkdir(parents=True, exist_ok=True)
    shutil.copy(bundled / "pipeline.toml", made)
    config = ConfigParser(interpolation=None)
    config.read(bundled / "config.ini", "utf-8")
    for section in [name for name in config.sections() if name.startswith("READER_")]:
        config.remove_section(section)
    for key in ("CONFIDENCE", "LEAST_CONFIDENCE"):
        config.remove_option("WORKER", key)
    config["LINE_CROPPER"]["LINE_HEIGHT"] = str(nets.LINE_HEIGHT)
    with (made / "config.ini").open("w", encoding="utf-8") as stream:
        config.write(stream)


def _changed(given: argparse.Namespace, **values: Any) -> argparse.Namespace:
    return argparse.Namespace(**(vars(given) | values))


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
        minutes=given.minutes,
        steps=given.steps,
        rate=given.rate,
        warm_up=given.warm_up,
        validate_every=given.validate_every,
    )


def _about(given: argparse.Namespace) -> dict[str, Any]:
    versions = given.data / "versions.json"
    arguments = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    del arguments["run"]
    return {"arguments": arguments, "data": json.loads(versions.read_text("utf-8")) if versions.is_file() else None}


def _finish(net: torch.nn.Module, path: Path) -> None:
    nets.export_layout(net, path)
    tell(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Any, *places: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__.partition(":")[0])
        made.set_defaults(run=run)
        for place in places:
            made.add_argument(place, type=Path)
        return made

    command("prepare", fetch, "data")
    lines = command("recogniser", train_recogniser, "data", "out")
    crops = command("layout", train_layout, "data", "out")
    together = command("all", everything, "data", "out")
    for training in (lines, crops, together):
        _loop_options(training)
    for training in (lines, crops):
        training.add_argument("--size", default="small", help="tiny, small or base")
        training.add_argument("--start-from", type=Path, help="what to tune: ocr.json of a recogniser, or a layout net")
        training.set_defaults(teacher=None)
    for training in (lines, together):
        _line_options(training)
    for training in (crops, together):
        _crop_options(training)
    lines.add_argument("--teacher", type=Path, help="ocr.json of a trained net, whose frames a smaller one learns")
    together.set_defaults(minutes=60.0, start_from=None)
    exporting = command("export", export, "out")
    exporting.add_argument("net", choices=["recogniser", "layout"])
    exporting.add_argument("--size", default="small")
    exporting.add_argument("--start-from", type=Path, help="as it was given to the training")
    calibrating = command("calibrate", calibrate, "model", "real")
    calibrating.add_argument("--threads", type=int, default=0)
    froc_command = command("froc", convert_froc, "wheel", "out")
    froc_command.add_argument("--group", type=int, default=1, help="of fonts; 0: all, 1: antiqua, 3: Fraktur ...")
    evaluating = command("evaluate", evaluate, "model", "data")
    evaluating.add_argument("--lines", type=int, default=500, help="of each kind of face")
    evaluating.add_argument("--real", type=Path, help="a folder of archives of real lines")
    return parser


def _loop_options(parser: argparse.ArgumentParser) -> None:
    cores = max(1, (os.cpu_count() or 2) - 1)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warm-up", type=int, default=150)
    parser.add_argument("--workers", type=int, default=cores, help="processes that draw")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--validate-every", type=float, default=120.0, help="seconds")


def _line_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--columns", type=int, default=120_000, help="of pixels in a batch")
    parser.add_argument("--longest", type=int, default=90, help="characters of a line")
    parser.add_argument("--figures", type=float, default=FIGURES, help="share of lines of numbers and random letters")
    parser.add_argument("--real", type=Path, help="a folder of archives of real lines to learn from, too")
    parser.add_argument("--real-share", type=float, default=0.7, help="of the lines")
    parser.add_argument("--validate-lines", type=int, default=200, help="of each kind of face")


def _crop_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--side", type=int, default=640, help="pixels of a crop, a multiple of 64")
    parser.add_argument("--batch", type=int, default=32, help="crops")
    parser.add_argument("--validate-batches", type=int, default=4)


if __name__ == "__main__":
    arguments = _parser().parse_args()
    arguments.run(arguments)
