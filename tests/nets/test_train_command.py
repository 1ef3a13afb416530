"""pero-worker train, for real but on a tiny task: pages in a face whose letters are swapped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pero_worker.engines.pero import load
from pero_worker.errors import NoInputError
from pero_worker.formats import alto, pagexml
from pero_worker.models.pipelines import load_pipeline
from pero_worker.page import Line, Page, Region
from pero_worker.work import EngineInput

pytest.importorskip("pero_ocr")

from pero_worker.training.alphabet import Alphabet
from pero_worker.training.lines import collect, cut_out
from pero_worker.training.network import open_network, save_network
from pero_worker.training.truth import find_pages, plain

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
FACE = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
LETTERS = "aehkmnostx"
SWAPPED = str.maketrans("aeo", "eoa")
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
BUNDLED = Path(load_pipeline("print-latin-small", cache=Path("unused")).stages[0].directory or "")


def sheet(name: str, texts: list[str], *, swap: bool = True) -> tuple[Image.Image, Page]:
    image = Image.new("RGB", (700, 60 * len(texts) + 40), "white")
    pen, font, lines = ImageDraw.Draw(image), ImageFont.truetype(FACE, 30), []
    for number, text in enumerate(texts):
        y, drawn = 60 * number + 60, text.translate(SWAPPED) if swap else text
        pen.text((40, y), drawn, fill="black", font=font, anchor="ls")
        right = 40 + font.getlength(drawn)
        outline = ((40.0, y - 28.0), (right, y - 28.0), (right, y + 10.0), (40.0, y + 10.0))
        lines.append(Line(id=f"l{number}", baseline=((40, y), (right, y)), polygon=outline, heights=None, text=text))
    whole = ((0.0, 0.0), (700.0, 0.0), (700.0, image.height), (0.0, image.height))
    return image, Page(
        name=name, width=image.width, height=image.height, regions=(Region(id="r", polygon=whole, lines=tuple(lines)),)
    )


def words(draw: random.Random, number: int) -> list[str]:
    return [" ".join("".join(draw.choices(LETTERS, k=draw.randint(2, 5))) for _ in range(4)) for _ in range(number)]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Transkribus lays it out: page/NAME.xml below the images' folder, and METS beside them."""
    folder, draw = tmp_path_factory.mktemp("export"), random.Random(5)
    (folder / "page").mkdir()
    (folder / "mets.xml").write_text("<mets/>")
    for number in range(6):
        image, page = sheet(f"f{number}.png", words(draw, 8))
        image.save(folder / f"f{number}.png")
        (folder / "page" / f"f{number}.xml").write_bytes(pagexml.write(page, created=CREATED, creator="test"))
    return folder


def command(*arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "pero_worker", "train", *map(str, arguments), "--threads", "1"]
    line += ["--from", "print-latin-small"]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    with command(*arguments) as process:
        out, said = process.communicate(timeout=600)
    return process.returncode, out, said


def test_a_face_is_learnt_over_an_interruption_and_its_pipeline_reads_pages(export: Path, tmp_path: Path) -> None:
    model = tmp_path / "swapped"
    with command(export, "-o", model, "--passes", 40) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if "step 1 " in line:
                break
        first.send_signal(signal.SIGINT)
        said = first.stderr.read()
    assert first.returncode == 130 and "the same command goes on" in said
    assert not (model / "config.ini").exists()

    status, _, said = train(export, "-o", model, "--passes", 41)
    assert status == 2 and "unfinished training of other pages or settings" in said

    status, out, said = train(export, "-o", model, "--passes", 40)
    assert status == 0, said
    assert "going on at step" in said and "before" in out and "after" in out
    assert sorted(path.name for path in model.iterdir()) == [
        "MODEL_CARD.md", "config.ini", "ocr.json", "ocr.pt", "parsenet.pt", "pipeline.toml",
    ]  # fmt: skip
    assert "6 images" in (model / "MODEL_CARD.md").read_text("utf-8")

    texts = words(random.Random(77), 6)
    image, _ = sheet("x.png", texts)
    (stage,) = load_pipeline(str(model), cache=tmp_path).stages
    engine = load(stage.parsed(), model, "cpu")
    pixels = np.ascontiguousarray(np.asarray(image)[..., ::-1])
    read = [line.text for line in engine.process(EngineInput(name="x.png", size=1, image=pixels)).page.lines()]
    same = sum(a == b for one, own in zip(texts, read, strict=False) for a, b in zip(one, own or "", strict=False))
    assert same > 0.8 * sum(map(len, texts)), (read, out)

    status, _, said = train(export, "-o", model)
    assert status == 2 and "is not empty" in said


def test_what_cannot_be_learnt_from_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.xml").write_text("<notes/>")
    for paths, reason in (([tmp_path], "no PAGE XML or ALTO is there"), ([tmp_path / "gone"], "there is no")):
        with pytest.raises(NoInputError, match=reason):
            find_pages(paths, print)
    told: list[str] = []
    image, page = sheet("a.png", ["few lines"])
    image.save(tmp_path / "a.png")
    (tmp_path / "a.xml").write_bytes(pagexml.write(page, created=CREATED, creator="test"))
    (tmp_path / "b.xml").write_bytes(pagexml.write(page, created=CREATED, creator="test").replace(b"a.png", b"b.png"))
    (tmp_path / "c.xml").write_bytes(b"<PcGts><Page imageFilename='a.png'/></PcGts>")
    pages = find_pages([tmp_path], told.append)
    assert [one.image.name for one in pages] == ["a.png"] and len(told) == 2
    with pytest.raises(NoInputError, match="1 line of text is not enough"):
        collect(pages, 40, share=0.1, seed=1, tell=print)


def test_the_exports_of_other_programs_are_found(tmp_path: Path) -> None:
    image, page = sheet("f1.jpg", ["some text"])
    for folder, xml, data in (
        ("escriptorium", "f1.xml", alto.write(page, created=CREATED, creator="test")),
        ("pero/images", "", b""),
        ("pero/page", "f1.xml", pagexml.write(page, created=CREATED, creator="test").replace(b"f1.jpg", b"")),
        ("ours", "f1.page.xml", pagexml.write(page, created=CREATED, creator="test").replace(b"f1.jpg", b"")),
    ):
        place = tmp_path / folder
        place.mkdir(parents=True)
        if folder != "pero/page":
            image.save(place / "f1.jpg")
        if xml:
            (place / xml).write_bytes(data)
    found = find_pages([tmp_path], print)
    assert [str(one.image.parent.relative_to(tmp_path)) for one in found] == ["escriptorium", "ours", "pero/images"]
    assert {line.text for one in found for line in one.page.lines()} == {"some text"}
    assert len(find_pages([tmp_path / "escriptorium" / "f1.xml"], print)) == 1


def test_lines_are_cut_at_the_images_own_size_whatever_the_page_was_drawn_on() -> None:
    image, page = sheet("f1.png", ["a line", "", "another"])
    small = np.asarray(image.resize((350, image.height // 2)))
    cuts = cut_out(small, page, 40)
    assert [text for _, text in cuts] == ["a line", "another"]
    assert {crop.shape[0] for crop, _ in cuts} == {40}
    assert all(crop.min() < 100 and np.median(crop) > 200 for crop, _ in cuts)


def test_an_alphabet_spells_letters_with_their_marks() -> None:
    alphabet = Alphabet(["a", "aͤ", "b", " "])
    assert alphabet.classes("baͤ a") == [2, 1, 3, 0] and alphabet.unknown("bcaͤ") == {"c"}
    assert alphabet.with_more("cab").characters == ("a", "aͤ", "b", " ", "c")
    assert alphabet.text(np.array([4, 2, 2, 4, 1, 4, 1, 1])) == "baͤaͤ"
    assert plain("  e\u0301\tx\x00y ") == "éxy".replace("x", " x")


def test_a_saved_network_tells_nothing_of_the_machine(tmp_path: Path) -> None:
    net, alphabet, height = open_network(BUNDLED / "ocr.json")
    save_network(net, alphabet, height, tmp_path / "ocr.json")
    for path in (tmp_path / "ocr.pt", *BUNDLED.parent.glob("*/*.pt")):
        with zipfile.ZipFile(path) as archive:
            assert not [name for name in archive.namelist() if "debug" in name]
            held = b"".join(archive.read(name) for name in archive.namelist())
        for place in (b"/root", b"/work", b"/home", b"/tmp", b"site-packages"):
            assert place not in held, path
