"""The energy that a page takes: counters of the processors (RAPL) and of a GPU (NVML), read before and after.

The processors' counters cover everything that runs on the machine: a page is charged in proportion to its process's
share of the time in which the processors were busy. A GPU's counter is split evenly among the processes that use it.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")
_STAT = Path("/proc/stat")
_IDLE_COLUMNS = (3, 4)
"""Columns of the `cpu` line in /proc/stat, from 0, with the time spent idle and waiting for a disk."""
_GUEST_COLUMN = 8
"""From this column on, the line repeats time that earlier columns include."""
_ANY_OF_NVML = Exception
"""NVML's errors have an exception tree of their own; whichever is raised, nothing was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyReading:
    """Counters at one moment."""

    microjoules: Mapping[str, int]
    """Counters of the processors, by zone, in microjoules."""
    busy: float
    """Seconds that all processors together have been busy since the machine started."""
    own: float
    """Seconds of them that this process used."""
    gpu_millijoules: int | None = None
    """Counter of the GPU, in millijoules; None if there is no GPU or it has no counter."""


class EnergyMeter(Protocol):
    """Measures the energy used between two moments."""

    def begin(self) -> EnergyReading | None:
        """Returns the counters now; None if nothing can be measured."""

    def joules_since(self, begun: EnergyReading | None) -> float | None:
        """Returns what this process has used since then; None if that is unknown."""


class NoMeter:
    """`EnergyMeter` of a machine without counters."""

    def begin(self) -> EnergyReading | None:
        return None

    def joules_since(self, begun: EnergyReading | None) -> float | None:
        return None


def joules_between(
    begun: EnergyReading, ended: EnergyReading, ranges: Mapping[str, int], gpu_sharers: int
) -> float | None:
    """Returns the process's share of the energy used between two readings; None if a counter is gone. Pure.

    `ranges` holds, for each zone, the value in microjoules at which its counter wraps around.
    """
    total = 0.0
    for zone, before in begun.microjoules.items():
        after = ended.microjoules.get(zone)
        if after is None:
            return None
        total += (after - before if after >= before else after - before + ranges.get(zone, 0)) / 1e6
    own = max(0.0, ended.own - begun.own)
    busy = max(own, ended.busy - begun.busy)  # The machine counts in hundredths, the process more finely.
    used = max(0.0, total) * (own / busy if busy > 0 else 0.0)
    if begun.gpu_millijoules is None:
        return used
    if ended.gpu_millijoules is None:
        return None
    return used + max(0, ended.gpu_millijoules - begun.gpu_millijoules) / 1000 / max(1, gpu_sharers)


class MachineMeter:
    """`EnergyMeter` of this machine, for a process that works on `device`."""

    def __init__(
        self,
        device: str,
        *,
        powercap: Path = POWERCAP,
        stat: Path = _STAT,
        own_seconds: Callable[[], float] = time.process_time,
        nvml: Any = None,
        visible: str | None = None,
    ) -> None:
        """`nvml`: the module pynvml, None for the installed one, if any; `visible`: the value of CUDA_VISIBLE_DEVICES,
        None to read it from the environment."""
        self._zones = _zones(powercap)
        self._stat = stat
        self._own_seconds = own_seconds
        self._nvml: Any = None
        self._gpu: Any = None
        kind, _, number = device.partition(":")
        self._on_gpu = kind == "cuda"
        if self._on_gpu:
            said = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
            self._open_gpu(nvml, int(number) if number.isdigit() else 0, said)

    def begin(self) -> EnergyReading | None:
        if self._on_gpu and self._gpu is None:
            return None  # The processors take the smaller part: that alone would mislead.
        if not self._on_gpu and not self._zones:
            return None
        try:
            return self._read()
        except (OSError, ValueError, IndexError):
            self._zones = {}  # Usually only root may read them.
            return self.begin() if self._on_gpu else None
        except _ANY_OF_NVML:
            self._gpu = None
            return None

    def joules_since(self, begun: EnergyReading | None) -> float | None:
        ended = self.begin() if begun is not None else None
        if begun is None or ended is None:
            return None
        ranges = {str(zone): largest for zone, largest in self._zones.items()}
        return joules_between(begun, ended, ranges, self._gpu_sharers())

    def _read(self) -> EnergyReading:
        gpu = None if self._gpu is None else int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu))
        return EnergyReading(
            microjoules={str(zone): int((zone / "energy_uj").read_text()) for zone in self._zones},
            busy=_busy_seconds(self._stat) if self._zones else 0.0,
            own=self._own_seconds(),
            gpu_millijoules=gpu,
        )

    def _open_gpu(self, nvml: Any, number: int, visible: str | None) -> None:
        try:
            self._nvml = nvml or importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            names = [name.strip() for name in visible.split(",")] if visible else []
            name = names[number] if names else str(number)
            find = self._nvml.nvmlDeviceGetHandleByIndex
            handle = find(int(name)) if name.isdigit() else self._nvml.nvmlDeviceGetHandleByUUID(name)
            self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            self._gpu = handle
        except _ANY_OF_NVML:
            self._gpu = None

    def _gpu_sharers(self) -> int:
        if self._gpu is None:
            return 1
        try:
            return len(self._nvml.nvmlDeviceGetComputeRunningProcesses(self._gpu))
        except _ANY_OF_NVML:
            return 1


def _zones(powercap: Path) -> dict[Path, int]:
    """Returns the zones of processor packages and their memory, with the largest value of each counter in
    microjoules."""
    found = {}
    for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD processors use the same names.
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith("package") or name == "dram":
                found[zone] = int((zone / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
    return found


def _busy_seconds(stat: Path) -> float:
    columns = [int(column) for column in stat.read_text().split("\n", 1)[0].split()[1:]][:_GUEST_COLUMN]
    idle = sum(columns[place] for place in _IDLE_COLUMNS)
    return (sum(columns) - idle) / os.sysconf("SC_CLK_TCK")
