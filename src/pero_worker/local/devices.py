"""Chooses how many worker processes fit this machine, and on which device each one runs."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pero_worker.errors import UsageError

# Peak memory of a pero-ocr process on a 300 dpi A4 page, with room for larger scans (docs/benchmarks.md).
_BYTES_A_PROCESS = 1_200_000_000


def choose_devices(device: str, jobs: int | None, pages: int) -> tuple[str, ...]:
    """Returns a device for each worker process: one process per GPU, otherwise 'cpu' once per core.

    `device` is 'auto', 'cpu', 'cuda' or 'cuda:N'; `jobs` None means as many as fit cores and memory. There are never
    more processes than `pages`.
    """
    pages = max(1, pages)
    jobs = jobs and min(jobs, pages)
    if device == "auto":
        device = "cuda" if _gpus() and _torch_has_cuda() else "cpu"
    if device == "cpu":
        return ("cpu",) * (jobs or max(1, min(_cores(), _processes_in_memory(), pages)))
    if device == "cuda":
        gpus = [f"cuda:{i}" for i in range(max(1, _gpus()))]
        count = jobs or min(len(gpus), pages)
        return tuple(gpus[i % len(gpus)] for i in range(count))
    if device.startswith("cuda:") and device[5:].isdigit():
        return (device,) * (jobs or 1)
    raise UsageError(f"--device {device}: choose auto, cpu, cuda or cuda:N")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _processes_in_memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, int(total * 0.8) // _BYTES_A_PROCESS)


def _gpus() -> int:
    folder = Path("/proc/driver/nvidia/gpus")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _torch_has_cuda() -> bool:
    """Whether torch was built with CUDA, judged by the package's version: importing torch takes seconds."""
    try:
        return "+cpu" not in version("torch")
    except PackageNotFoundError:
        return False
