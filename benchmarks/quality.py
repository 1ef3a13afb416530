"""`make bench-quality`: CER and WER of the bundled pipelines and Tesseract on pages with a NAME.gt.txt beside them.

python benchmarks/quality.py [PAGES_DIR] [--engines print-best,rapidocr]; an engine may be a pipeline folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from textscore import Score, score

ENGINES = ("print-latin", "print-latin-small", "print-best", "rapidocr", "tesseract")
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
# Tesseract is told the language of each page by its name: the best case for it.
LANGUAGES = {"cs": "ces", "de_fraktur": "frk", "de_title": "frk", "de": "deu", "fr": "fra", "nl": "nld", "en": "eng"}


@dataclass
class Result:
    """An engine's texts by page name, and the seconds the whole run took."""

    seconds: float = 0.0
    texts: dict[str, str] = field(default_factory=dict)


def pero_worker(pipeline: str, images: list[Path], out: Path) -> Result:
    command = [sys.executable, "-m", "pero_worker", "ocr", *map(str, images), "-o", str(out)]
    begun = time.monotonic()
    done = subprocess.run([*command, "--pipeline", pipeline, "--formats", "text", "--quiet"], check=False)
    if done.returncode not in {0, 3}:  # 3: some pages failed
        print(f"{pipeline}: pero-worker ocr ended with exit status {done.returncode}", file=sys.stderr)
    seconds = time.monotonic() - begun
    texts = {image.stem: out / f"{image.stem}.txt" for image in images}
    return Result(seconds, {name: path.read_text("utf-8") for name, path in texts.items() if path.is_file()})


def tesseract(images: list[Path]) -> Result:
    if shutil.which("tesseract") is None:
        packages = " ".join(f"tesseract-ocr-{language}" for language in sorted(set(LANGUAGES.values())))
        print(f"tesseract is not installed: apt-get install tesseract-ocr {packages}", file=sys.stderr)
        return Result()
    begun = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(tesseract_page, images))
    seconds = time.monotonic() - begun
    return Result(seconds, {image.stem: text for image, text in zip(images, texts, strict=True) if text is not None})


def tesseract_page(image: Path) -> str | None:
    parts = image.stem.split("_")
    language = LANGUAGES.get("_".join(parts[:2])) or LANGUAGES.get(parts[0], "eng")
    # Sauvola's threshold, and one thread a page: measured to be the best for it.
    command = ["tesseract", str(image), "stdout", "-l", language, "--psm", "3", "-c", "thresholding_method=2"]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)
    if done.returncode:
        print(f"tesseract failed on {image.name}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return done.stdout


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?", type=Path, default=Path("../shared/pages"))
    arguments.add_argument("--engines", default=",".join(ENGINES))
    given = arguments.parse_args()
    engines = given.engines.split(",")
    if not given.folder.is_dir():
        sys.exit(f"{given.folder} is not a folder: name one with images and their .gt.txt")
    found = sorted(path for path in given.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    images = [image for image in found if image.with_name(f"{image.stem}.gt.txt").is_file()]
    if not images:
        sys.exit(f"no images with a .gt.txt beside them in {given.folder}")
    with tempfile.TemporaryDirectory() as scratch:
        results = {
            engine: tesseract(images)
            if engine == "tesseract"
            else pero_worker(engine, images, Path(scratch) / str(place))
            for place, engine in enumerate(engines)
        }
    show(images, results)
    if any(not result.texts for engine, result in results.items() if engine != "tesseract"):
        sys.exit(1)


def class_of(name: str) -> str:
    """What kind of page it is: the second word of its name, as in de_fraktur_1815."""
    return [*name.split("_"), "other"][1]


def show(images: list[Path], results: dict[str, Result]) -> None:
    print("Folded CER % / WER %\n")
    print(f"| page | {' | '.join(results)} |")
    print(f"| --- |{' --- |' * len(results)}")
    totals = dict.fromkeys(results, Score())
    by_class: dict[str, dict[str, Score]] = {}
    for image in images:
        truth = image.with_name(f"{image.stem}.gt.txt").read_text("utf-8")
        cells = []
        for engine, result in results.items():
            text = result.texts.get(image.stem)
            # A page without a result counts as a page of errors.
            one = score(truth, text or "")
            totals[engine] += one
            own = by_class.setdefault(class_of(image.stem), dict.fromkeys(results, Score()))
            own[engine] += one
            cells.append("-" if text is None else f"{100 * one.cer:.2f} / {100 * one.wer:.2f}")
        print(f"| {image.stem} | {' | '.join(cells)} |")
    for name, scores in sorted(by_class.items()):
        cells = [f"{100 * t.cer:.2f} / {100 * t.wer:.2f}" if results[e].texts else "-" for e, t in scores.items()]
        print(f"| *{name}* | {' | '.join(cells)} |")
    cells = [f"{100 * t.cer:.2f} / {100 * t.wer:.2f}" if results[e].texts else "-" for e, t in totals.items()]
    print(f"| **all ({len(images)} pages, micro)** | {' | '.join(cells)} |")
    cells = [f"{result.seconds / len(images):.2f}" if result.texts else "-" for result in results.values()]
    print(f"| seconds a page, start included | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
