"""The recognisers of ocrd-froc (Apache-2.0) as pero-ocr takes them: python -m training froc FOLDER OUT --group 1."""

from __future__ import annotations

import sys
import types
import unicodedata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pero_worker.training.alphabet import Alphabet
from pero_worker.training.network import save_network
from training.nets import LSTM, Conv2d, Linear

LINE_HEIGHT = 32
_PADDING = "/PAD/"


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Conv2d(1, 8, (3, 2), (2, 1))
        self.conv2 = Conv2d(8, 32, (6, 4), 1, (3, 1))
        self.conv3 = Conv2d(32, 64, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv1(F.pad(x, (1, 2, 1, 2))), 0.01)
        x = F.max_pool2d(F.leaky_relu(self.conv2(x), 0.01), (4, 2))
        return F.max_pool2d(F.leaky_relu(self.conv3(x), 0.01), (1, 2))


class Froc(nn.Module):
    """One recogniser.

    In: float32 (n, 3, 32, w), 0..1, BGR, w a multiple of 32. Columns that are all black are no paper: they turn bright.
    Out: float32 (n, characters + 1, w / 4), raw logits, the blank last.
    """

    def __init__(self, classes: int, dropout: float = 0.05) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.embed = Linear(64, 128)
        self.drop = nn.Dropout(dropout)
        self.rnn = LSTM(128, 128, 3, bidirectional=True, batch_first=True, dropout=dropout)
        self.head = Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(1, keepdim=True)
        x = torch.maximum(x, (x.amax(2, keepdim=True) == 0).to(x.dtype))
        x = self.backbone(x).relu().mean(2).permute(0, 2, 1)
        return self.head(self.drop(self.rnn(self.embed(x)))).permute(0, 2, 1)


def converted(package: Path, group: int) -> tuple[Froc, Alphabet]:
    """The recogniser of a font group out of an unpacked wheel, which is a pickle: it runs code of the package."""
    for name in ("torchvision", "torchvision.transforms"):  # asked for two calls that are not made here
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]
    sys.path.insert(0, str(package))
    from ocrd_froc.froc import Froc as Whole  # type: ignore[import-not-found]  # noqa: PLC0415 - of the folder given

    whole: Any = Whole.load(str(package / "ocrd_froc" / "models" / "default.froc"))
    state = (whole.cocr if group in whole.cocr.models else whole.selocr).models[group].state_dict()
    letters = {place: unicodedata.normalize("NFC", text) for place, text in whole.converter.reverse.items()}
    rows = [place for place, text in sorted(letters.items()) if place and text != _PADDING]
    order = torch.tensor([*rows, 0])
    state["head.weight"], state["head.bias"] = state["head.weight"][order], state["head.bias"][order]
    net = Froc(len(order))
    net.load_state_dict(state)
    return net, Alphabet([letters[row] for row in rows])


def convert(package: Path, out: Path, group: int) -> None:
    net, alphabet = converted(package, group)
    out.mkdir(parents=True, exist_ok=True)
    save_network(net, alphabet, LINE_HEIGHT, out / "ocr.json")
