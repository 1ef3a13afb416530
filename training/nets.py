"""The two networks, with the tensors that pero-ocr 0.7.0 expects, and their way into TorchScript and back."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pero_worker.training.network import save_script

LINE_HEIGHT = 40


class Conv2d(nn.Conv2d):
    """May hold its weights in half precision, to take half of the room in a file; it computes in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight.float(), self.bias)


class LSTM(nn.LSTM):
    """As `Conv2d`, but on a CPU it computes as precisely as its input is, for autocast leaves it out there.

    For batches first, both directions and a state of zeros.
    """

    def forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype if x.device.type == "cpu" else torch.float32
        weights = [weight.to(dtype) for weight in self._flat_weights]
        zeros = torch.zeros(2 * self.num_layers, x.size(0), self.hidden_size, dtype=x.dtype, device=x.device)
        return torch.lstm(x, [zeros, zeros], weights, True, self.num_layers, self.dropout, self.training, True, True)[0]


class Linear(nn.Linear):
    """As `Conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.float(), self.bias)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    return _normed(Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False))


def _normed(convolution: nn.Conv2d) -> nn.Module:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))


class Recogniser(nn.Module):
    """Convolutions, bidirectional LSTM, CTC.

    In: float32 (n, 3, LINE_HEIGHT, w), 0..1, BGR, w a multiple of 32, black beside the line.
    Out: float32 (n, characters + 1, w / 4), raw logits, the blank last.
    """

    SIZES: Final = {  # stem, four widths of convolutions, LSTM width and layers
        "tiny": (16, 32, 64, 96, 144, 128, 2),
        "small": (32, 64, 128, 160, 256, 224, 2),
        "base": (48, 96, 160, 256, 384, 320, 2),
    }

    def __init__(self, size: str, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        stem, first, second, third, last, hidden, layers = self.SIZES[size]
        self.conv = nn.Sequential(
            _conv(1, stem, 5, 2),
            _conv(stem, first, 3),
            *([] if size == "tiny" else [_conv(first, first, 3)]),  # where pixels are most, it is most work
            nn.MaxPool2d(2),
            _conv(first, second, 3),
            _conv(second, second, 3),
            nn.MaxPool2d((2, 1)),
            _conv(second, third, 3),
            _conv(third, third, 3),
            _normed(Conv2d(third, last, (LINE_HEIGHT // 8, 1), bias=False)),  # all rows become one
        )
        self.drop = nn.Dropout(dropout)
        self.rnn = LSTM(last, hidden, layers, bidirectional=True, batch_first=True, dropout=dropout)
        self.out = Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.rnn(self.features(x)))).permute(0, 2, 1)

    def features(self, x: Tensor) -> Tensor:
        x = (x.mean(1, keepdim=True) - 0.5) * 2.0
        return self.drop(self.conv(x).squeeze(2).permute(0, 2, 1))


class _Up(nn.Module):
    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.c = nn.Sequential(_conv(inputs + skipped, outputs, 3), _conv(outputs, outputs, 3))

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        return self.c(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skipped], 1))


class ParseNet(nn.Module):
    """U-Net for the LAYOUT_CNN method.

    In: float32 (1, 3, h, w), 0..1, BGR, h and w multiples of 64, black right of and below the page.
    Out: (maps, maps), float32 (1, 5, h, w): heights above and below the baseline in pixels of the map; probabilities of
    baseline, of its ends and of a region's border.
    """

    SIZES: Final = {  # width at full resolution, and at each halving
        "tiny": (8, (16, 32, 64, 96)),
        "small": (16, (32, 64, 128, 192, 256)),
        "base": (24, (48, 96, 192, 256, 320)),
    }

    def __init__(self, size: str) -> None:
        super().__init__()
        full, widths = self.SIZES[size]
        self.full = _conv(3, full, 3)
        self.down = nn.ModuleList()
        inputs = full
        for width in widths:
            self.down.append(nn.Sequential(_conv(inputs, width, 3, 2), _conv(width, width, 3)))
            inputs = width
        self.up = nn.ModuleList()
        for skipped in reversed([full, *widths[:-1]]):
            self.up.append(_Up(inputs, skipped, max(skipped, full)))
            inputs = max(skipped, full)
        self.head = Conv2d(inputs, 5, 1)

    def logits(self, x: Tensor) -> Tensor:
        x = self.full((x - 0.5) * 2.0)
        skipped = [x]
        for down in self.down:
            x = down(x)
            skipped.append(x)
        level = len(skipped) - 2
        for up in self.up:
            x = up(x, skipped[level])
            level -= 1
        return self.head(x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.logits(x)
        maps = torch.cat([F.softplus(z[:, 0:2]) * 10.0, torch.sigmoid(z[:, 2:5])], 1)
        return maps, maps


def start_from(net: nn.Module, exported: Path) -> None:
    """Takes the weights of an exported layout net of the same size."""
    net.load_state_dict(torch.jit.load(str(exported), map_location="cpu").state_dict())


def export_layout(net: nn.Module, path: Path) -> None:
    """Writes a layout net as TorchScript, for CPU and GPU, its weights in half precision."""
    net = copy.deepcopy(net).to("cpu").float().eval()
    for weights in net.parameters():
        if weights.dim() > 1:
            weights.data = weights.data.half()
    save_script(torch.jit.script(net), path)
