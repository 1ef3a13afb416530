"""python -m training, for real but on a tiny task: a face whose letters are swapped, which no trained model can read."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTFont

import pero_worker

pytest.importorskip("torch")

import torch

from training import fonts, texts
from training.pages import PageMaker, maps
from training.sources import Sources, with_long_s

PROJECT = Path(__file__).parents[2]
MODEL = Path(pero_worker.__file__).parent / "pipelines" / "print-latin" / "ocr.pt"
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
FACE = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
LETTERS = "aehkmnostx"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare` would make of one face and 400 texts."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "root").mkdir()
    with TTFont(FACE) as font:
        for table in font["cmap"].tables:
            glyphs = dict(table.cmap)
            for place, letter in enumerate(LETTERS):
                table.cmap[ord(letter)] = glyphs[ord(LETTERS[(place + 3) % len(LETTERS)])]
        font.save(folder / "root" / "Swapped.ttf")
    (folder / "fonts.json").write_text(json.dumps([asdict(face) for face in fonts.find(folder / "root")]))
    draw = random.Random(1)
    words = ["".join(draw.choices(LETTERS, k=draw.randint(2, 4))) for _ in range(800)]
    rows = (f"en\t{one} {other}\n" for one, other in zip(words[::2], words[1::2], strict=True))
    (folder / "corpus.tsv").write_text("".join(rows))
    return folder


def train(*arguments: object) -> str:
    environment = os.environ | {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training", *map(str, arguments), "--workers", "0", "--threads", "1"]
    done = subprocess.run(
        command, check=False, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def record(out: Path) -> dict:
    return json.loads((out / "record.json").read_text("utf-8"))


def test_a_recogniser_learns_a_face_it_could_not_read_and_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    task = [data, tmp_path, "--start-from", MODEL, "--rate", 2e-3, "--warm-up", 5, "--columns", 1500, "--longest", 9]
    options = [*task, "--figures", 0, "--validate", 25]
    train("recogniser", *options, "--steps", 1)
    assert record(tmp_path)["curve"][-1]["roman"] > 0.8
    assert "going on at step 1" in train("recogniser", *options, "--steps", 80)
    last = record(tmp_path)["curve"][-1]
    assert (last["step"], last["starts"]) == (80, 2)
    assert last["roman"] < 0.2
    assert json.loads((tmp_path / "ocr.json").read_text("utf-8"))["checkpoint"] == "ocr.pt"
    logits = torch.jit.load(tmp_path / "ocr.pt")(torch.zeros(2, 3, 40, 96))
    assert logits.shape == (2, 202, 24)


def test_a_layout_net_learns(data: Path, tmp_path: Path) -> None:
    options = ["--size", "tiny", "--side", 192, "--batch", 4, "--rate", 5e-3, "--warm-up", 5, "--validate", 2]
    train("layout", data, tmp_path, *options, "--steps", 1)
    train("layout", data, tmp_path, *options, "--steps", 40)
    first, *_, last = record(tmp_path)["curve"]
    assert last["loss"] < first["loss"]
    assert last["heights"] < 0.85 * first["heights"]
    both = torch.jit.load(tmp_path / "parsenet.pt")(torch.zeros(1, 3, 64, 128))
    assert [tuple(part.shape) for part in both] == [(1, 5, 64, 128)] * 2


def test_missing_data_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "layout", str(tmp_path), str(tmp_path), "--steps", "1"]
    done = subprocess.run(command, check=False, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert f"python -m training prepare {tmp_path}" in done.stderr


def test_the_maps_of_a_page_lie_on_its_letters(data: Path) -> None:
    side, found = 640, 0
    maker = PageMaker(Sources(data, 3), 3)
    for _ in range(4):
        page = maker(side, side, 24)
        target, taught = maps(page, side, 1.0, (0, 0))
        assert target.shape == (5, side, side)
        for points, (above, below) in zip(page.baselines, page.heights, strict=True):
            x, y = points[len(points) // 2].round().astype(int)
            if 8 < x < side - 8 and 8 < y < side - 8:
                found += 1
                assert target[2, y - 2 : y + 3, x].max() > 0.9
                assert taught[y, x] == 1
                assert target[0, y, x] > 0 and above > 3 * below
    assert found > 20


def test_drawing_is_the_same_for_a_seed(data: Path) -> None:
    one, other = (PageMaker(Sources(data, 5), 5)(300, 300, 20) for _ in range(2))
    assert np.array_equal(one.image, other.image)


def test_long_s_stands_everywhere_but_at_the_end_of_a_word() -> None:
    assert with_long_s("dies ist das Haus, Wasser") == "dies iſt das Haus, Waſſer"


def test_texts_are_cleaned_and_taken_once(tmp_path: Path) -> None:
    folder = tmp_path / "fortunes-de" / "usr" / "share" / "games" / "fortunes" / "de"
    folder.mkdir(parents=True)
    (folder / "a").write_text(
        "Der Mond ist auf\u00adgegangen.\n%\nDer Mond ist aufgegangen.\n%\nДругая азбука здесь.\n%\n12"
    )
    assert list(texts.collect(tmp_path, 1)) == [("de", "Der Mond ist aufgegangen.")]
