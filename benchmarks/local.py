"""`make bench-local`: pero-worker on this machine against bare PageParser loops, with the same model and pages in one
run, and with the smaller model for comparison.

    python benchmarks/local.py [PAGES_DIR] [--pages N]

Every arrangement is a whole command, from its start to the last file; all of them write PAGE and ALTO.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pero_worker

MODEL = Path(pero_worker.__file__).parent / "pipelines/print-latin"
BARE_LOOP = Path(__file__).with_name("bare_loop.py")
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


@dataclass(frozen=True)
class Measured:
    name: str
    pages: int
    wall: float
    cpu: float
    first_page: float
    peak_mb: float


def measure(name: str, command: list[str], out: Path) -> Measured:
    """Runs `command`, which writes *.page.xml into `out`; peak is the largest single process."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    first: list[float] = []
    begun = time.monotonic()
    errors = out.with_suffix(".errors")
    with errors.open("wb") as stream:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)

    def watch() -> None:
        while not first and process.poll() is None:
            if any(out.glob("*.page.xml")):
                first.append(time.monotonic() - begun)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{name} failed ({process.returncode}):\n{errors.read_text(errors='replace')}")
    pages = len(list(out.glob("*.page.xml")))
    peak = usage.ru_maxrss / 1024
    return Measured(name, pages, wall, usage.ru_utime + usage.ru_stime, first[0] if first else wall, peak)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?", type=Path, default=Path("../shared/pages"))
    arguments.add_argument("--pages", type=int, default=0, help="only the first N pages")
    given = arguments.parse_args()
    images = sorted(path for path in given.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    images = images[: given.pages] if given.pages else images
    with tempfile.TemporaryDirectory() as scratch:
        model, out = Path(scratch) / "model", Path(scratch) / "out"
        shutil.copytree(MODEL, model)
        for net in model.glob("*.pt"):
            shutil.copy(net, f"{net}.cpu")
        names = [str(image) for image in images]
        bare = [sys.executable, str(BARE_LOOP), str(model), str(out)]
        command = [sys.executable, "-m", "pero_worker", "ocr", *names, "-o", str(out), "-f", "page,alto", "--quiet"]
        # Compiles and caches what all of them import, so that the first does not pay for the others.
        subprocess.run([*bare, "1", "1"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = [
            measure("bare loop, torch's default threads", [*bare, "1", "0", *names], out),
            measure("bare loop, 2 processes of 1 thread", [*bare, "2", "1", *names], out),
            ours := measure("pero-worker ocr", command, out),
            measure("pero-worker ocr, print-latin-small", [*command, "--pipeline", "print-latin-small"], out),
        ]
    show(rows, ours)


def show(rows: list[Measured], ours: Measured) -> None:
    print(
        f"{os.process_cpu_count() if hasattr(os, 'process_cpu_count') else os.cpu_count()} cores, {ours.pages} pages\n"
    )
    print("| arrangement | wall s | pages/s | CPU s a page | first page s | peak MB a process | pero-worker ocr is |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        if row.pages != ours.pages:
            sys.exit(f"{row.name} made {row.pages} pages, pero-worker {ours.pages}")
        ratio = row.wall / ours.wall
        print(
            f"| {row.name} | {row.wall:.1f} | {row.pages / row.wall:.3f} | {row.cpu / row.pages:.2f} "
            f"| {row.first_page:.1f} | {row.peak_mb:.0f} | {ratio:.2f} x as fast |"
        )


if __name__ == "__main__":
    main()
