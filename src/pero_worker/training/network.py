"""A recogniser as pero-ocr takes it, TorchScript with its `ocr.json`: opened for training, and written again."""

from __future__ import annotations

import copy
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pero_worker.engines.pero.safeload import load_script
from pero_worker.errors import StageError, UsageError
from pero_worker.training.alphabet import Alphabet, plain_letter

_LESS = 3.0
"""How much less likely (in logits) a character that is new to a network is at first than the one that it starts
from."""
_NO_PATHS = (".debug_pkl",)


def open_network(description: Path) -> tuple[Any, Alphabet, int]:
    """Returns the network that an `ocr.json` describes, in float32 and trainable, its alphabet, and the height of its
    lines.

    Raises `UsageError` if the file does not describe a network, or not one that can be trained here.
    """
    try:
        told = json.loads(description.read_text("utf-8"))
        alphabet, height = Alphabet([str(character) for character in told["characters"]]), int(told["line_px_height"])
        net = load_script(str(description.parent / told["checkpoint"]), torch.device("cpu"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, StageError) as error:
        raise UsageError(f"{description} does not describe a recogniser that can be opened: {error}") from error
    for weights in net.parameters():
        weights.data = weights.data.float()
        weights.requires_grad_(True)
    if _head(net, alphabet.blank + 1) is None:
        raise UsageError(f"the recogniser of {description} has no last layer of {alphabet.blank + 1} classes")
    return net, alphabet, height


def learning(net: Any) -> Any:
    """Returns `net` in training mode, except that batch statistics stay fixed: a few lines would spoil them."""
    net.train()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d) or getattr(part, "original_name", "") == "BatchNorm2d":
            part.eval()
    return net


def widen(net: Any, known: Alphabet, wanted: Alphabet) -> None:
    """Adds rows to the last layer for the characters that `wanted` has after those of `known`: each starts as its plain
    letter, but less likely."""
    layer = _head(net, known.blank + 1)
    rows, less = [*range(known.blank)], [0.0] * known.blank
    for character in wanted.characters[known.blank :]:
        plain = plain_letter(character)
        rows.append(known.characters.index(plain) if plain in known.characters else known.blank)
        less.append(_LESS)
    chosen = torch.tensor([*rows, known.blank])
    layer.weight = nn.Parameter(layer.weight.data[chosen].clone())
    layer.bias = nn.Parameter(layer.bias.data[chosen] - torch.tensor([*less, 0.0]))


@torch.no_grad()
def copied(net: Any) -> Any:
    """Returns a copy with the same weights; without gradients, as those of TorchScript would depend on the original."""
    return copy.deepcopy(net)


def _head(net: Any, classes: int) -> Any:
    """Returns the last layer with a weight and a bias for each class."""
    found = None
    for part in net.modules():
        own = dict(part.named_parameters(recurse=False))
        if "weight" in own and "bias" in own and own["weight"].shape[0] == own["bias"].shape[0] == classes:
            found = part
    return found


def save_network(net: Any, alphabet: Alphabet, height: int, description: Path, checkpoint: str = "ocr.pt") -> None:
    """Writes the network next to its `description`, an ocr.json, with weights in half precision."""
    net = copied(net).to("cpu").float().eval()
    for weights in net.parameters():
        if weights.dim() > 1:
            weights.data = weights.data.half()
    scripted = net if isinstance(net, torch.jit.ScriptModule) else torch.jit.script(net)
    save_script(scripted, description.with_name(checkpoint))
    told = {
        "line_px_height": height,
        "line_vertical_scale": 1.0,
        "checkpoint": checkpoint,
        "characters": list(alphabet.characters),
        "net_name": "CRNN",
    }
    description.write_text(json.dumps(told, ensure_ascii=False), "utf-8")


def save_script(scripted: Any, path: Path) -> None:
    """Writes TorchScript without the records of where its source was on this machine."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / path.name
        scripted.save(str(whole))
        writer = torch._C.PyTorchFileWriter(str(path))
        with zipfile.ZipFile(whole) as archive:
            for entry in archive.namelist():
                name = entry.partition("/")[2]
                if not name.endswith(_NO_PATHS) and not name.startswith((".data/", "version", "byteorder")):
                    record = archive.read(entry)
                    writer.write_record(name, record, len(record))
        writer.write_end_of_file()


def input_of(pixels: Tensor) -> Tensor:
    """Returns the networks' input for uint8 pixels (n, h, w, 3)."""
    return pixels.permute(0, 3, 1, 2).float() / 255
