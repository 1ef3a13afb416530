from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pero_worker

pytest.importorskip("pero_ocr")
shapely = pytest.importorskip("shapely")
torch = pytest.importorskip("torch")

from pero_worker.engines.pero import compat, nearby, speed  # noqa: E402

PIPELINE = Path(pero_worker.__file__).parent / "pipelines" / "print-latin"
page_parser = compat.import_pero()
original_alpha_shape = page_parser.helpers.alpha_shape
original_assign = page_parser.helpers.assign_lines_to_regions
original_filter = page_parser.LayoutEngine.filter_polygons
original_clusters = page_parser.LayoutEngine.make_clusters


def test_rare_methods_are_imported_when_they_are_called() -> None:
    program = """
import configparser, sys
from pero_worker.engines.pero.compat import import_pero
page_parser = import_pero()
assert not {"sklearn", "scipy.signal"} & sys.modules.keys()
config = configparser.ConfigParser()
config.read_dict({"LAYOUT_PARSER_1": {"METHOD": "REGION_SORTER_NAIVE"}})
sorter = page_parser.NaiveRegionSorter(config["LAYOUT_PARSER_1"])
assert "sklearn" in sys.modules
finder = page_parser.EngineLineDetectorSimple()
assert type(finder).__module__ == "pero_ocr.layout_engines.simple_baseline_engine"
assert callable(page_parser.detect_lines_in_region) and "scipy.signal" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_multipolygons_iterate() -> None:
    parts = [shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)]
    assert list(shapely.MultiPolygon(parts)) == parts


def test_no_pool_is_started() -> None:
    assert page_parser.Pool(1) is None


def test_reverse_line_mapping_is_the_loop_it_replaces() -> None:
    forward = np.concatenate([[0.0], np.cumsum(np.random.default_rng(0).uniform(1, 1.1, 99))])
    samples, values = np.linspace(0, forward[-1], 57), np.arange(3.0, 103.0)
    expected = np.empty_like(samples)
    for number, sample in enumerate(samples):
        share = (sample - forward[-1]) / (forward[0] - forward[-1])
        expected[number] = (1 - share) * values[-1] + share * values[0]
    cropper = page_parser.cropper.EngineLineCropper()
    assert np.array_equal(cropper.reverse_line_mapping(forward, samples, values), expected)


def test_a_line_without_length_is_no_error() -> None:
    found = compat._reverse_line_mapping(None, np.zeros(1), np.zeros(2), np.ones(1))
    assert found.shape == (2,)


def test_the_suffix_of_cpu_models_is_optional(tmp_path: Path) -> None:
    cpu, gpu = SimpleNamespace(type="cpu"), SimpleNamespace(type="cuda")
    model = str(tmp_path / "m.pt")
    assert compat.model_file(model, cpu) == model
    (tmp_path / "m.pt.cpu").touch()
    assert compat.model_file(model, cpu) == model + ".cpu"
    assert compat.model_file(model, gpu) == model


def test_prints_of_pero_ocr_become_debug_messages(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    options = SimpleNamespace(getboolean=lambda _key: True)
    page_parser.LayoutPostprocessor(options).process_page(None, SimpleNamespace(regions=[], id="p"))
    assert capsys.readouterr().out == ""
    assert "Skipping layout post processing" in caplog.text


def test_memories_of_the_page_before_are_dropped() -> None:
    net = SimpleNamespace(last_downsample=7.5, init_downsample=4)
    line_filter = SimpleNamespace(predictions=np.zeros(3))
    decoder = SimpleNamespace(last_h="h", last_line="line")
    layouts = [SimpleNamespace(engine=SimpleNamespace(parsenet=net)), SimpleNamespace(engine=line_filter), object()]
    compat.forget_last_page(SimpleNamespace(layout_parsers=layouts, decoder=decoder))
    first = np.random.rand()
    compat.forget_last_page(SimpleNamespace(decoder=None))
    assert np.random.rand() == first
    assert net.last_downsample == 4
    assert not hasattr(line_filter, "predictions")
    assert (decoder.last_h, decoder.last_line) == (None, None)


def test_what_other_threads_draw_changes_no_page() -> None:
    nothing = SimpleNamespace(decoder=None)
    compat.forget_last_page(nothing)
    first = page_parser.helpers.random.uniform(0, 1)
    random.seed(7)
    before = random.getstate()
    compat.forget_last_page(nothing)
    assert random.getstate() == before
    random.random()
    assert page_parser.helpers.random.uniform(0, 1) == first


def test_an_engine_loads_inside_a_daemonic_process() -> None:
    code = (
        "import configparser, multiprocessing, pathlib, sys\n"
        "from pero_worker.engines.pero import load\n"
        "multiprocessing.current_process()._config['daemon'] = True\n"
        "config, folder = configparser.ConfigParser(), pathlib.Path(sys.argv[1])\n"
        "config.read(folder / 'config.ini')\n"
        "load(config, folder, 'cpu')\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(PIPELINE)], check=False).returncode == 0


@pytest.mark.parametrize("count", [3, 4, 12, 200])
def test_alpha_shapes_are_those_of_pero_ocr(count: int) -> None:
    points = (np.random.default_rng(count).random((count, 2)) * 1000).astype(np.float32)
    assert original_alpha_shape is not speed.alpha_shape
    assert speed.alpha_shape(points, 150.0).equals(original_alpha_shape(points, 150.0))


@pytest.mark.parametrize("seed", range(12))
def test_lines_and_regions_are_parted_as_by_pero_ocr(seed: int) -> None:
    helpers, random_ = page_parser.helpers, np.random.default_rng(seed)
    lefts, tops = random_.uniform(0, 900, 40), random_.uniform(0, 900, 40)
    baselines = [
        np.array([(x, y), (x + width, y + 3)])
        for x, y, width in zip(lefts, tops, random_.uniform(3, 300, 40), strict=True)
    ]
    heights = [[12.0, 5.0]] * len(baselines)
    outlines = [helpers.baseline_to_textline(line, height) for line, height in zip(baselines, heights, strict=True)]
    shapes = [shapely.Polygon(random_.uniform(0, 1, (6, 2)) * 250 + random_.uniform(0, 700, 2)) for _ in range(14)]
    own = [outlines[start : start + 3] for start in range(14)]
    parted = original_filter(None, list(shapes), own)
    assert original_filter is not nearby.parted_regions
    assert len(parted) < len(shapes) or any(a is not b for a, b in zip(parted, shapes, strict=True))
    ours = nearby.parted_regions(helpers.check_polygon, list(shapes), own)
    assert len(ours) == len(parted)
    assert all(shape.equals(other) for shape, other in zip(ours, parted, strict=True))
    regions = [
        page_parser.RegionLayout(f"r{number}", np.array(shapely.convex_hull(shape).exterior.coords))
        for number, shape in enumerate(shapes)
    ]
    copies = [page_parser.RegionLayout(region.id, region.polygon) for region in regions]
    expected = original_assign(baselines, heights, outlines, regions)
    found = nearby.assign_lines_to_regions(helpers, baselines, heights, outlines, copies)
    assert sum(len(region.lines) for region in expected) > 5
    for one, other in zip(found, expected, strict=True):
        assert [line.id for line in one.lines] == [line.id for line in other.lines]
        assert all(
            np.array_equal(a.baseline, b.baseline) and np.array_equal(a.polygon, b.polygon)
            for a, b in zip(one.lines, other.lines, strict=True)
        )


def test_what_follows_the_last_layer_is_computed_in_float32() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Sigmoid()).eval()
    with compat.no_warnings():
        prepared = speed._prepared(torch.jit.script(model), half=True)
    with torch.inference_mode():
        found = prepared(torch.rand(1, 3, 40, 40))
    assert found.dtype is torch.float32
    assert not torch.equal(found, found.bfloat16().float())


@pytest.mark.parametrize("layers", [[torch.nn.Conv2d(3, 4, 3)], [torch.nn.ReLU()]])
def test_networks_that_end_with_a_layer_or_have_none_compute_in_bfloat16_too(layers: list[Any]) -> None:
    with compat.no_warnings():
        prepared = speed._prepared(torch.jit.script(torch.nn.Sequential(*layers).eval()), half=True)
    with torch.inference_mode():
        assert prepared(torch.rand(1, 3, 40, 40)).dtype is torch.float32


@pytest.mark.parametrize(
    ("seed", "count", "limit"),
    [*((seed, 14, 0.3) for seed in range(8)), (9, 60, 0.3), (10, 2, 0.3), (11, 1, 0.3), (12, 30, 2.0)],
)
def test_lines_form_the_same_paragraphs_as_in_pero_ocr(seed: int, count: int, limit: float) -> None:
    helpers, random_ = page_parser.helpers, np.random.default_rng(seed)
    lefts, tops = random_.uniform(0, 900, count), random_.uniform(40, 900, count)
    baselines = [
        np.linspace((x, y), (x + width, y), 4) + random_.uniform(-6, 6, (4, 1)) * (0, 1)
        for x, y, width in zip(lefts, tops, random_.uniform(20, 400, count), strict=True)
    ]
    heights = [[up, 5.0] for up in random_.uniform(6, 30, count)]
    outlines = [helpers.baseline_to_textline(line, height) for line, height in zip(baselines, heights, strict=True)]
    separators = random_.uniform(0, 0.1, (500, 700)).astype(np.float32)
    engine = object.__new__(page_parser.LayoutEngine)
    engine.paragraph_line_threshold = limit
    assert original_clusters is not nearby.paragraphs
    expected = original_clusters(engine, baselines, heights, outlines, separators, 2.0)
    found = nearby.paragraphs(engine, baselines, heights, outlines, separators, 2.0)
    assert list(found) == list(expected)


def test_only_large_pages_are_laid_out_in_bfloat16_where_it_is_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_LARGE_PIXELS", 1000)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 3)).eval()
    with compat.no_warnings():
        net = speed._prepared(torch.jit.script(layers), half=False, half_if_large=True)
    small, large = (torch.rand(1, 3, side, side, generator=torch.manual_seed(1)) for side in (20, 40))
    with torch.no_grad():
        assert torch.equal(net(small), layers(small))
        off = (net(large) - layers(large)).abs().max()
    assert net(large).dtype == torch.float32
    assert 1e-6 < off < 0.05
