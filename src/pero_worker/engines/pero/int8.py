"""Computes convolutions in 8-bit integers, where the processor multiplies those several times as fast.

Weights are rounded channel by channel, activations by ranges that were measured when the network was made
(`int8_ranges` in its ocr.json), so that a line is read the same whatever is in its batch. Networks that are not a chain
of convolutions are left as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

RANGES = "int8_ranges"
"""Key in ocr.json: the greatest output of each convolution, in their order."""
_CONVOLUTION, _POOLING = "aten::conv2d", "aten::max_pool2d"
_CUT_OFF = frozenset({"aten::relu", "aten::relu_"})
_LEVELS = 255
_LARGEST_WEIGHT = 127
_MOST = 64
"""Maximum number of convolutions in a network."""


def multiplies_int8(device: Any) -> bool:
    """Whether the device multiplies 8-bit integers four at a time (VNNI); others gain nothing, and may overflow."""
    found = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(found.get("avx512_vnni") or found.get("avx_vnni"))


def ranges_of(description: Mapping[str, Any]) -> list[float]:
    """Returns the ranges in an ocr.json; an empty list if it has none, or if they cannot be ranges."""
    told = description.get(RANGES)
    if not isinstance(told, list) or len(told) > _MOST:
        return []
    sound = all(isinstance(value, int | float) and 0 < value < 1e6 for value in told)
    return [float(value) for value in told] if sound else []


def in_int8(frozen: Any, ranges: Sequence[float]) -> bool:
    """Makes all but the first convolution of a frozen network compute in 8-bit integers.

    Returns False if the network is not a chain that these `ranges` fit, and leaves it as it is. The first convolution
    sees a grey picture and costs little.
    """
    graph = frozen.graph
    links = _chain(graph)
    if len(links) < 2 or len(links) != len(ranges):
        return False
    value = None
    for before, (convolution, _), given, reach in zip(links, links[1:], ranges, ranges[1:], strict=False):
        graph.setInsertPoint(convolution)
        if value is None:
            exact = _inserted(graph, "aten::to", before[1].output(), torch.float32, False, False, None)
            value = _inserted(graph, "aten::quantize_per_tensor", exact, given / _LEVELS, 0, torch.quint8)
        if (pooling := convolution.inputsAt(0).node()).kind() == _POOLING:
            value = _inserted(graph, _POOLING, value, *list(pooling.inputs())[1:])
        value = _inserted(graph, "quantized::conv2d_relu", value, _packed(convolution), reach / _LEVELS, 0)
    last = links[-1][1]
    graph.setInsertPoint(last)
    last.output().replaceAllUsesWith(_inserted(graph, "aten::dequantize", value))
    torch._C._jit_pass_dce(graph)
    return True


def _chain(graph: Any) -> list[tuple[Any, Any]]:
    """Returns the convolutions, each with the ReLU after it; empty unless at most a pooling lies between two."""
    links: list[tuple[Any, Any]] = []
    for convolution in graph.findAllNodes(_CONVOLUTION):
        cut_off = _only_user(convolution)
        if cut_off is None or cut_off.kind() not in _CUT_OFF or not isinstance(_constant(convolution, 1), torch.Tensor):
            return []
        if links and not _follows(convolution, links[-1][1]):
            return []
        links.append((convolution, cut_off))
    return links


def _follows(convolution: Any, cut_off: Any) -> bool:
    """Whether the convolution alone uses the output of the ReLU before it, as it is or pooled."""
    source = cut_off
    if (user := _only_user(source)) is not None and user.kind() == _POOLING:
        source = user
    return bool(_only_user(source) == convolution and convolution.inputsAt(0).node() == source)


def _only_user(node: Any) -> Any:
    uses = node.output().uses()
    return uses[0].user if len(uses) == 1 else None


def _constant(node: Any, place: int) -> Any:
    return node.inputsAt(place).toIValue()


def _packed(convolution: Any) -> Any:
    """Returns the weights in the form that the quantised operator takes."""
    weights, bias, stride, padding, dilation, groups = (_constant(convolution, place) for place in range(1, 7))
    weights, bias = weights.detach().float(), bias.detach().float()
    scales = (weights.abs().amax((1, 2, 3)) / _LARGEST_WEIGHT).clamp_min(1e-12).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the only other form that torch has is meant for compilers
        rounded = torch.quantize_per_channel(
            weights, scales, torch.zeros(len(scales), dtype=torch.long), 0, torch.qint8
        )
    return torch.ops.quantized.conv2d_prepack(rounded, bias, stride, padding, dilation, groups)


def _inserted(graph: Any, kind: str, *inputs: Any) -> Any:
    """Inserts an operator at the insertion point and returns its result; inputs are results of others, or constants."""
    values = [given if isinstance(given, torch._C.Value) else graph.insertConstant(given) for given in inputs]
    return graph.insertNode(graph.create(kind, values, 1)).output()
