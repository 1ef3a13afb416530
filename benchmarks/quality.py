"""`make bench-quality`: CER, WER, order and regions of the bundled pipelines and Tesseract on pages with ground truth.

The ground truth is NAME.gt.txt next to the image, PAGE XML as NAME.xml, or both, with the text from NAME.gt.txt.

python benchmarks/quality.py [PAGES_DIR] [--engines print-latin,rapidocr] [--classes FILE]

An engine may be a pipeline folder. FILE has lines `NAME,class`; the class of other pages is part of their names.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from structure import Structure, compare
from textscore import Score, bag_errors, score

from pero_worker.formats import pagexml
from pero_worker.page import Page

ENGINES = ("print-latin", "print-latin-small", "print-best", "rapidocr", "tesseract")
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
# Tesseract gets the language of each page from the page's name: the best case for it.
LANGUAGES = {"cs": "ces", "de_fraktur": "frk", "de_title": "frk", "de": "deu", "fr": "fra", "nl": "nld", "en": "eng"}


@dataclass
class Result:
    """An engine's texts by page name, and the seconds the whole run took."""

    seconds: float = 0.0
    texts: dict[str, str] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)


def pero_worker(pipeline: str, images: list[Path], out: Path) -> Result:
    command = [sys.executable, "-m", "pero_worker", "ocr", *map(str, images), "-o", str(out)]
    begun = time.monotonic()
    done = subprocess.run([*command, "--pipeline", pipeline, "--formats", "text,page", "--quiet"], check=False)
    if done.returncode not in {0, 3}:  # 3: some pages failed
        print(f"{pipeline}: pero-worker ocr ended with exit status {done.returncode}", file=sys.stderr)
    seconds = time.monotonic() - begun
    texts = {image.stem: out / f"{image.stem}.txt" for image in images}
    pages = {image.stem: out / f"{image.stem}.page.xml" for image in images}
    return Result(
        seconds,
        {name: path.read_text("utf-8") for name, path in texts.items() if path.is_file()},
        {name: pagexml.read(path.read_bytes()) for name, path in pages.items() if path.is_file()},
    )


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
    # Sauvola's threshold, and one thread per page: measured to be the best for it.
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
    arguments.add_argument("--classes", type=Path, help="CSV of names and classes")
    given = arguments.parse_args()
    engines = given.engines.split(",")
    if not given.folder.is_dir():
        sys.exit(f"{given.folder} is not a folder: name one with images and their .gt.txt or .xml")
    found = sorted(path for path in given.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    truths = {image: truth for image in found if (truth := truth_of(image)) is not None}
    images = list(truths)
    if not images:
        sys.exit(f"no images with a .gt.txt or .xml beside them in {given.folder}")
    classes = dict(csv.reader(given.classes.open(encoding="utf-8"))) if given.classes else {}
    with tempfile.TemporaryDirectory() as scratch:
        results = {
            engine: tesseract(images)
            if engine == "tesseract"
            else pero_worker(engine, images, Path(scratch) / str(place))
            for place, engine in enumerate(engines)
        }
    show(truths, results, classes)
    show_structure(truths, results, classes)
    if any(not result.texts for engine, result in results.items() if engine != "tesseract"):
        sys.exit(1)


@dataclass(frozen=True)
class Truth:
    """The ground truth of a page: its text ('' if unknown), its regions and lines."""

    text: str
    page: Page | None


def truth_of(image: Path) -> Truth | None:
    text, xml = (image.with_name(f"{image.stem}{suffix}") for suffix in (".gt.txt", ".xml"))
    page = pagexml.read(xml.read_bytes()) if xml.is_file() else None
    if text.is_file():
        return Truth(text.read_text("utf-8"), page)
    return Truth("\n".join(line.text for line in page.lines() if line.text), page) if page else None


def class_of(name: str, classes: dict[str, str]) -> str:
    """Returns the class of a page: the one in `classes`, or the second word of its name, as in de_fraktur_1815."""
    return classes.get(name) or [*name.split("_"), "other"][1]


def show(truths: dict[Path, Truth], results: dict[str, Result], classes: dict[str, str]) -> None:
    print("Folded CER % / WER % / words wrong in any order %\n")
    print(f"| page | {' | '.join(results)} |")
    print(f"| --- |{' --- |' * len(results)}")
    totals: dict[str, dict[str, tuple[Score, int]]] = {}
    number = 0
    for image, truth in truths.items():
        if not truth.text.strip():
            continue
        number += 1
        cells = []
        for engine, result in results.items():
            text = result.texts.get(image.stem)
            # A page without a result counts as a page of errors.
            one, bag = score(truth.text, text or ""), bag_errors(truth.text, text or "")
            for name in (class_of(image.stem, classes), ""):
                before = totals.setdefault(name, {}).get(engine, (Score(), 0))
                totals[name][engine] = before[0] + one, before[1] + bag
            cells.append("-" if text is None else rates(one, bag))
        print(f"| {image.stem} | {' | '.join(cells)} |")
    for name, of_class in sorted(totals.items(), key=lambda item: (not item[0], item[0])):
        cells = [rates(*of_class[engine]) if results[engine].texts else "-" for engine in results]
        print(f"| {f'*{name}*' if name else f'**all ({number} pages, micro)**'} | {' | '.join(cells)} |")
    cells = [f"{result.seconds / len(truths):.2f}" if result.texts else "-" for result in results.values()]
    print(f"| seconds a page, start included | {' | '.join(cells)} |")


def rates(one: Score, bag: int) -> str:
    return f"{100 * one.cer:.2f} / {100 * one.wer:.2f} / {100 * bag / max(1, one.words):.2f}"


def show_structure(truths: dict[Path, Truth], results: dict[str, Result], classes: dict[str, str]) -> None:
    """Prints the structure scores of pages whose ground truth has regions, by class."""
    totals: dict[str, dict[str, Structure]] = {}
    for image, truth in truths.items():
        for engine, result in results.items():
            if truth.page is not None and (page := result.pages.get(image.stem)) is not None:
                for name in (class_of(image.stem, classes), ""):
                    of_class = totals.setdefault(name, {})
                    of_class[engine] = of_class.get(engine, Structure()) + compare(truth.page, page)
    engines = [engine for engine, result in results.items() if result.pages]
    if not totals or not engines:
        return
    print("\nPairs of lines in the wrong order % / needless jumps between regions % / F1 of regions / right kinds %\n")
    print(f"| class | {' | '.join(engines)} |")
    print(f"| --- |{' --- |' * len(engines)}")
    for name, of_class in sorted(totals.items(), key=lambda item: (not item[0], item[0])):
        cells = []
        for engine in engines:
            s = of_class.get(engine, Structure())
            jumps, kinds = 100 * s.jumps / max(1, s.steps), 100 * s.kinds / max(1, s.hits)
            cells.append(f"{100 * s.order:.2f} / {jumps:.1f} / {s.f1:.2f} / {kinds:.0f}")
        print(f"| {f'*{name}*' if name else '**all**'} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
