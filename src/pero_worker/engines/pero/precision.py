"""How many bits the networks of a stage compute with."""

from __future__ import annotations

from configparser import ConfigParser
from dataclasses import dataclass
from typing import Any

import torch

from pero_worker.engines.pero.int8 import multiplies_int8
from pero_worker.errors import StageError

_FLOAT32, _BFLOAT16, _INT8 = "float32", "bfloat16", "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The precisions that the networks of a stage may use, where their device gains by it."""

    bfloat16: bool = False
    """Whether whole networks compute in bfloat16; their inputs and outputs stay float32."""
    saves_memory: bool = False
    """Whether layout networks compute large pages in bfloat16 although it is not faster: it takes half the memory."""
    int8: bool = False
    """Whether convolutions of recognisers compute in int8, if the network comes with its ranges."""

    @property
    def name(self) -> str:
        """The precision with the fewest bits, for people to read."""
        return _INT8 if self.int8 else _BFLOAT16 if self.bfloat16 else _FLOAT32


def precision_of(config: ConfigParser, device: Any) -> Precision:
    """Returns what `[WORKER] PRECISION` asks for, as far as the device is faster with it.

    Raises `StageError` if the precision is unknown.
    """
    asked = config.get("WORKER", "PRECISION", fallback=_FLOAT32, raw=True).strip().lower()
    if asked not in {_FLOAT32, _BFLOAT16, _INT8}:
        raise StageError(f"config.ini: [WORKER] PRECISION = {asked} is not {_FLOAT32}, {_BFLOAT16} or {_INT8}")
    return Precision(
        bfloat16=asked != _FLOAT32 and multiplies_bfloat16(device),
        saves_memory=asked != _FLOAT32 and device.type == "cpu" and _knows_bfloat16(),
        int8=asked == _INT8 and multiplies_int8(device),
    )


def multiplies_bfloat16(device: Any) -> bool:
    """Whether the device computes faster in bfloat16 than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    # Intel processors without AMX multiply half as many at a time: a recogniser takes 1.4 times as long as in float32.
    return _knows_bfloat16() and bool(found.get("amx_bf16") or "Intel" not in str(found.get("cpu_name")))


def _knows_bfloat16() -> bool:
    """Whether the processor has instructions for it, however fast they are."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
