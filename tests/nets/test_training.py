"""python -m training, for real but on a tiny task: a face whose letters are swapped, which no trained model can read."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.ttLib import TTFont

import pero_worker
from pero_worker.engines.registry import engine_name
from pero_worker.models.pipelines import load_pipeline

pytest.importorskip("torch")

import torch
from PIL import Image, ImageDraw

from pero_worker.engines.pero.calibration import Calibration
from pero_worker.training.alphabet import Alphabet
from pero_worker.training.batches import Loss
from pero_worker.training.network import open_network, save_network
from training import calibrate, fonts, froc, nets, recogniser, texts
from training.alphabet import CHARACTERS
from training.decor import Decor
from training.drawn import Drawn, maps
from training.pages import PageMaker
from training.real import RealLines
from training.scans import scan
from training.sources import Sources, with_long_s

PROJECT = Path(__file__).parents[2]
MODEL = Path(pero_worker.__file__).parent / "pipelines" / "print-latin" / "ocr.json"
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


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "record.json").read_text("utf-8"))
    return found


def test_a_recogniser_learns_a_face_it_could_not_read_and_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    task = [data, tmp_path, "--start-from", MODEL, "--rate", 2e-3, "--warm-up", 5, "--columns", 1500, "--longest", 9]
    options = [*task, "--figures", 0, "--validate-lines", 25]
    train("recogniser", *options, "--steps", 1)
    assert record(tmp_path)["curve"][-1]["roman"] > 0.6
    assert "going on at step 1" in train("recogniser", *options, "--steps", 80)
    last = record(tmp_path)["curve"][-1]
    assert (last["step"], last["starts"]) == (80, 2)
    assert last["roman"] < 0.2
    assert json.loads((tmp_path / "ocr.json").read_text("utf-8"))["checkpoint"] == "ocr.pt"
    logits = torch.jit.load(tmp_path / "ocr.pt")(torch.zeros(2, 3, 40, 96))
    assert logits.shape == (2, len(CHARACTERS) + 1, 24)


def test_a_small_net_learns_from_the_frames_of_a_larger_one(data: Path, tmp_path: Path) -> None:
    teacher, alphabet, height = open_network(MODEL)
    teacher.eval()
    task = recogniser.Task(data=data, alphabet=alphabet, height=height, longest=9, figures=0.0)
    batch = next(iter(recogniser.LineBatches(task, 1, 1500)))
    alone, taught = Loss(alphabet), Loss(alphabet, teacher)
    with torch.no_grad():
        assert taught(teacher, batch)[0].item() == pytest.approx(alone(teacher, batch)[0].item(), rel=1e-3)
        pupil = nets.Recogniser("tiny", alphabet.blank + 1).eval()
        assert taught(pupil, batch)[0] > 1.2 * alone(pupil, batch)[0]
    options = [
        "--size",
        "tiny",
        "--teacher",
        MODEL,
        "--columns",
        1500,
        "--longest",
        9,
        "--validate-lines",
        5,
        "--rate",
        5e-3,
    ]
    assert "ocr.pt" in train("recogniser", data, tmp_path, *options, "--warm-up", 5, "--steps", 3)


def test_an_exported_net_holds_half_of_the_bits_and_reads_the_same(tmp_path: Path) -> None:
    net = nets.Recogniser("tiny", len(CHARACTERS) + 1).eval()
    save_network(net, Alphabet(CHARACTERS), nets.LINE_HEIGHT, tmp_path / "ocr.json")
    assert (tmp_path / "ocr.pt").stat().st_size < 2.2 * sum(weights.numel() for weights in net.parameters())
    pixels = torch.rand(2, 3, 40, 128)
    exported = torch.jit.load(tmp_path / "ocr.pt")
    with torch.no_grad():
        assert torch.allclose(exported(pixels), net(pixels), atol=0.01)
    again, alphabet, height = open_network(tmp_path / "ocr.json")
    assert (alphabet.characters, height) == (tuple(CHARACTERS), 40)
    assert all(weights.dtype is torch.float32 and weights.requires_grad for weights in again.parameters())


def test_a_recogniser_of_froc_reads_as_pero_ocr_wants_it() -> None:
    net = froc.Froc(7).eval()
    with torch.no_grad():
        assert net(torch.rand(2, 3, 32, 96)).shape == (2, 7, 24)
        paper, beside = torch.ones(1, 3, 32, 160), torch.ones(1, 3, 32, 160)
        beside[..., :32] = beside[..., -32:] = 0.0  # pero-ocr's padding is black: it must not be taken for ink
        assert torch.equal(net(paper), net(beside))


def archive(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    """As the real lines come: (text, class, split) each."""
    table = ["file\ttext\tdocument\tpage\tlanguage\tcentury\tclass\tsplit"]
    with zipfile.ZipFile(folder / "lines_some.zip", "w") as packed:
        for number, (text, kind, split) in enumerate(rows):
            image = Image.new("L", (30 * len(text), 40), 230)
            ImageDraw.Draw(image).text((5, 8), text, fill=10, font_size=22)
            stream = io.BytesIO()
            image.save(stream, "WEBP")
            packed.writestr(f"{number}.webp", stream.getvalue())
            table.append(f"{number}.webp\t{text}\td\tp\tde\t19\t{kind}\t{split}")
        packed.writestr("lines.tsv", "\n".join(table) + "\n")


def test_real_lines_are_drawn_a_little_other_each_time_and_only_those_to_learn_from(tmp_path: Path) -> None:
    archive(tmp_path, [
        ("Haus", "antiqua", "train"), ("Hof", "fraktur", "train"), ("Tor", "antiqua", "dev"),
        ("Hand", "handwriting", "train"), ("दर", "antiqua", "train"), ("a‐b", "antiqua", "train"),
    ])  # fmt: skip
    lines = RealLines(tmp_path, 32, 3)
    drawn = [lines() for _ in range(40)]
    assert {text for _, text in drawn} == {"Haus", "Hof", "a-b"}
    assert {crop.shape[0] for crop, _ in drawn} == {32} and len({crop.shape[1] for crop, _ in drawn}) > 5
    assert any(crop.min() < 120 for crop, _ in drawn)
    again = RealLines(tmp_path, 32, 3)
    assert all(np.array_equal(crop, again()[0]) for crop, _ in drawn)


def test_points_of_confidence_rise_and_stand_on_many_letters() -> None:
    draw = random.Random(4)
    lines = [
        calibrate.Judged(given, 20, sum(draw.random() > given**2 for _ in range(20)))
        for given in np.linspace(0.3, 1, 800)
    ]
    found = calibrate.points(lines)
    calibration = Calibration.of(calibrate.written(found))
    assert found[0] == (0.0, 0.0)
    for given in (0.5, 0.7, 0.9, 0.97):
        assert calibration(given) == pytest.approx(given**2, abs=0.05)


def test_a_layout_net_learns(data: Path, tmp_path: Path) -> None:
    options = ["--size", "tiny", "--side", 192, "--batch", 4, "--rate", 5e-3, "--warm-up", 5, "--validate-batches", 2]
    train("layout", data, tmp_path, *options, "--steps", 1)
    train("layout", data, tmp_path, *options, "--steps", 40)
    first, *_, last = record(tmp_path)["curve"]
    assert last["loss"] < first["loss"]
    assert last["heights"] < 0.85 * first["heights"]
    both = torch.jit.load(tmp_path / "parsenet.pt")(torch.zeros(1, 3, 64, 128))
    assert [tuple(part.shape) for part in both] == [(1, 5, 64, 128)] * 2


def test_one_command_trains_both_pipelines(data: Path, tmp_path: Path) -> None:
    few = [
        "--columns",
        1500,
        "--longest",
        9,
        "--validate-lines",
        3,
        "--side",
        64,
        "--batch",
        2,
        "--validate-batches",
        1,
    ]
    train("all", data, tmp_path, *few, "--steps", 1)
    for name, most in (("print-latin", 15e6), ("print-latin-small", 3e6)):
        pipeline = load_pipeline(str(tmp_path / name), cache=tmp_path / "cache")
        assert engine_name(pipeline.stages[0].parsed()) == "pero"
        assert json.loads((tmp_path / name / "ocr.json").read_text("utf-8"))["line_px_height"] == 40
        assert sum(file.stat().st_size for file in (tmp_path / name).iterdir()) < most


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


def test_what_a_scan_does_to_a_page_it_does_to_its_lines() -> None:
    for seed in range(12):
        page = Drawn(
            np.full((300, 400, 3), 255, np.uint8), [np.array([[150.0, 160], [200, 160], [250, 160]])], [(20, 7)]
        )
        page.image[156:165, 146:255] = 128
        scan(np.random.default_rng(seed), page)
        x, y = page.baselines[0][len(page.baselines[0]) // 2].round().astype(int)
        assert page.image.shape == (300, 400, 3)
        assert abs(float(page.image[y, x].mean()) - 128) < 40, seed


def test_what_is_no_text_leaves_ink() -> None:
    sheet = Image.new("L", (200, 200))
    decor = Decor(np.random.default_rng(1), sheet, [str(FACE)])
    draw: list[Callable[[], object]] = [
        lambda: decor.rule(10, 190, 20, 12),
        lambda: decor.picture(20, 30, 60, 30),
        lambda: decor.ornament(100, 100, 80, 12),
        lambda: decor.stamp(12),
        lambda: decor.scribble(12),
    ]
    for one in draw:
        ImageDraw.Draw(sheet).rectangle([0, 0, 200, 200], fill=0)
        one()
        assert np.asarray(sheet).max() > 30
    assert Decor(np.random.default_rng(1), sheet, []).ornament(100, 100, 80, 12) == 0


def test_a_glyph_that_freetype_refuses_does_not_end_a_training() -> None:
    answers: Iterator[OSError | str] = iter([OSError("raster overflow"), "drawn"])

    def draw() -> str:
        if isinstance(answer := next(answers), OSError):
            raise answer
        return answer

    assert fonts.surely(draw) == "drawn"


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
