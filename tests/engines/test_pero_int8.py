"""Recognisers whose convolutions compute in eight bits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pero_worker
from pero_worker.engines.pero import compat, int8, precision, speed
from pero_worker.engines.pero.safeload import load_script

PIPELINES = Path(pero_worker.__file__).parent / "pipelines"


class Chain(nn.Module):
    """Convolutions as a recogniser has them, and what is none behind them."""

    def __init__(self, *, branched: bool = False) -> None:
        super().__init__()
        self.branched = branched
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.third, self.out = nn.Conv2d(16, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = torch.relu(self.first(x))
        two = torch.max_pool2d(torch.relu(self.second(one)), 2)
        three = torch.relu(self.third(two))
        if self.branched:
            three = three + two.mean()
        found: torch.Tensor = self.out(three.mean(2).permute(0, 2, 1))
        return found


def frozen(*, branched: bool = False) -> tuple[Any, list[float]]:
    """A network, and the greatest outputs of its convolutions on `pixels()`."""
    torch.manual_seed(4)
    net = Chain(branched=branched).eval()
    with torch.inference_mode():
        one = torch.relu(net.first(pixels(6)))
        two = torch.relu(net.second(one))
        three = torch.relu(net.third(torch.max_pool2d(two, 2)))
    ranges = [float(output.max()) for output in (one, two, three)]
    with compat.no_warnings():
        return torch.jit.freeze(torch.jit.script(net).to(memory_format=torch.channels_last)), ranges


def pixels(lines: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand((6, 3, 16, 40), generator=generator)[:lines].to(memory_format=torch.channels_last)


@torch.inference_mode()
def test_a_chain_computes_in_eight_bits_and_nearly_the_same() -> None:
    exact, (net, ranges) = frozen()[0], frozen()
    assert int8.in_int8(net, ranges)
    expected, found = exact(pixels(6)), net(pixels(6))
    assert found.dtype is torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    assert str(net.graph).count("quantized::conv2d_relu") == 2
    assert str(net.graph).count("aten::conv2d") == 1


@torch.inference_mode()
def test_a_line_is_read_alike_whatever_is_beside_it() -> None:
    net, ranges = frozen()
    assert int8.in_int8(net, ranges)
    together = net(pixels(6))
    for lines in (2, 3, 5):
        assert torch.equal(net(pixels(lines)), together[:lines])
    assert torch.equal(net(pixels(6).flip(0)), together.flip(0))


@pytest.mark.parametrize("wrong", [[], [1.0], [1.0, 2.0], [1.0] * 4])
def test_ranges_of_another_network_are_left_alone(wrong: Sequence[float]) -> None:
    net, _ = frozen()
    before = str(net.graph)
    assert not int8.in_int8(net, wrong)
    assert str(net.graph) == before


def test_what_is_no_chain_is_left_alone() -> None:
    net, ranges = frozen(branched=True)
    before = str(net.graph)
    assert not int8.in_int8(net, ranges)
    assert str(net.graph) == before


@pytest.mark.parametrize("told", [None, "8", [0], [-1.0], [float("nan")], [float("inf")], ["8"], [[8]], [1.0] * 65, {}])
def test_what_are_no_ranges_is_no_ranges(told: object) -> None:
    assert int8.ranges_of({"int8_ranges": told}) == []
    assert int8.ranges_of({}) == []


@pytest.mark.parametrize("name", ["print-latin", "print-latin-small", "print-best"])
def test_bundled_recognisers_know_their_ranges(name: str) -> None:
    ranges = int8.ranges_of(json.loads((PIPELINES / name / "ocr.json").read_text("utf-8")))
    with compat.no_warnings():
        net = torch.jit.freeze(load_script(str(PIPELINES / name / "ocr.pt"), torch.device("cpu")).eval())
    assert int8.in_int8(net, ranges)


@pytest.mark.parametrize("half", [False, True])
def test_eight_bits_go_with_either_kind_of_the_rest(half: bool) -> None:
    torch.manual_seed(4)
    with compat.no_warnings(), torch.inference_mode():
        prepared = speed._prepared(torch.jit.script(Chain().eval()), half=half, ranges=frozen()[1])
        assert prepared(pixels(2)).dtype is torch.float32


@pytest.mark.parametrize(
    ("capabilities", "bfloat16"),
    [
        ({"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC 9R14"}, True),
        ({"cpu_name": "AMD EPYC 7R13"}, False),
    ],
)
def test_bfloat16_is_for_processors_that_gain_by_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], bfloat16: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision.multiplies_bfloat16(torch.device("cpu")) is bfloat16


@pytest.mark.parametrize(("able", "device", "expected"), [("avx512_vnni", "cpu", True), ("avx2", "cpu", False)])
def test_int8_is_for_processors_that_gain_by_it(
    monkeypatch: pytest.MonkeyPatch, able: str, device: str, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {able: True})
    assert int8.multiplies_int8(torch.device(device)) is expected
    assert not int8.multiplies_int8(torch.device("cuda"))
