"""Everything that pero-ocr 0.7.0 needs to work with today's libraries and inside a worker, in one place.

`import_pero` must be the first to import pero_ocr in a process; its repairs apply to the whole process.
"""

from __future__ import annotations

import importlib
import logging
import random
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import shapely.geometry
from numpy.typing import NDArray

from pero_worker.engines.pero.safeload import load_language_model, load_script

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_SEED = 0
# Only for pero-ocr: kazoo's and pika's threads draw from the interpreter's generator in the middle of a page.
_dice = random.Random(_SEED)  # noqa: S311 - it breaks ties
_MODULES = (
    "document_ocr.page_parser",
    "core.arabic_helper",
    "core.crop_engine",
    "layout_engines.baseline_refiner",
    "layout_engines.cnn_layout_engine",
    "layout_engines.layout_helpers",
    "layout_engines.torch_parsenet",
    "ocr_engine.line_ocr_engine",
    "ocr_engine.pytorch_ocr_engine",
    "ocr_engine.transformer",
    "ocr_engine.transformer_ocr_engine",
)
# Rarely used methods, whose libraries (scikit-learn, scipy.signal, scipy.optimize) take half of the total import time.
_LATE = {
    "pero_ocr.layout_engines.line_in_region_detector": "detect_lines_in_region",
    "pero_ocr.layout_engines.naive_sorter": "NaiveRegionSorter",
    "pero_ocr.layout_engines.simple_baseline_engine": "EngineLineDetectorSimple",
    "scipy.interpolate": "interp1d",
}


def import_pero() -> Any:
    """Returns the repaired module pero_ocr.document_ocr.page_parser. Raises `ImportError` if pero-ocr is missing."""
    with _lock:
        _replace_utils()
        with no_warnings(), _late_imports():
            page_parser, *others = (importlib.import_module(f"pero_ocr.{name}") for name in _MODULES)
        for module in (page_parser, *others):
            _quiet(module)
        _let_multipolygons_iterate()
        # LayoutExtractor starts a process pool that it never uses; a daemonic process may not start one at all.
        page_parser.__dict__["Pool"] = lambda *_: None
        named = {module.__name__.rpartition(".")[2]: module for module in others}
        named["layout_helpers"].__dict__["random"] = _dice
        named["crop_engine"].EngineLineCropper.reverse_line_mapping = _reverse_line_mapping
        named["torch_parsenet"].Net.__init__ = _load_net
        named["pytorch_ocr_engine"].PytorchEngineLineOCR._load_exported_model = _load_recogniser
    return page_parser


@contextmanager
def no_warnings() -> Iterator[None]:
    """Silences warnings: pero-ocr uses names that its libraries have deprecated, but the versions are pinned."""
    _hush.enter()
    try:
        yield
    finally:
        _hush.leave()


class _Hush:
    """Silences warnings in the whole process: the first thread to enter turns them off, the last to leave on again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._before: warnings.catch_warnings[None] | None = None

    def enter(self) -> None:
        with self._lock:
            self._wanted += 1
            if self._wanted == 1:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")

    def leave(self) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted == 0 and self._before is not None:
                self._before.__exit__(None, None, None)


_hush = _Hush()


@contextmanager
def _late_imports() -> Iterator[None]:
    """Puts stand-ins in place of the modules of `_LATE` for a while; they import the real ones when called."""
    absent = {name: attribute for name, attribute in _LATE.items() if name not in sys.modules}
    for name, attribute in absent.items():
        stand_in = types.ModuleType(name)
        stand_in.__dict__[attribute] = _called_late(name, attribute)
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _called_late(name: str, attribute: str) -> Callable[..., Any]:
    def call(*values: Any, **options: Any) -> Any:
        with no_warnings():
            module = importlib.import_module(name)
        _quiet(module)
        return getattr(module, attribute)(*values, **options)

    return call


def import_decoding() -> None:
    """Imports the decoder, quietly. Raises `ImportError` if brnolm is missing."""
    with _lock, no_warnings():
        module = importlib.import_module("pero_ocr.decoding.decoding_itf")
        _quiet(module)
        # The original runs whatever a language model's pickle names.
        module.__dict__["construct_lm"] = _construct_lm
        # The factory writes the whole character set to sys.stderr: it gets a `sys` of its own.
        stderr = types.SimpleNamespace(write=lambda text: logger.debug("%s", text.rstrip()))
        module.__dict__["sys"] = types.SimpleNamespace(stderr=stderr)


def forget_last_page(parser: Any) -> None:
    """Resets what a PageParser remembers of the previous page, and the random generators it draws from."""
    for layout in getattr(parser, "layout_parsers", ()):
        engine: Any = getattr(layout, "engine", None)
        net = getattr(engine, "parsenet", None)
        if net is not None:
            net.last_downsample = net.init_downsample
        if hasattr(engine, "predictions"):
            del engine.predictions
    if parser.decoder is not None:
        parser.decoder.last_h = None
        parser.decoder.last_line = None
    _dice.seed(_SEED)
    np.random.seed(_SEED)


def model_file(path: str, device: Any) -> str:
    """Returns the file to open for `path`: pero-ocr wants MODEL.cpu on a CPU, but packages often have MODEL only."""
    variant = path + ".cpu"
    return variant if device.type == "cpu" and Path(variant).is_file() else path


def _replace_utils() -> None:
    # The original tries numba in a subprocess at import, and its fallback cannot be called with options. What numba
    # would compile is replaced (reverse_line_mapping) or not used here (force_alignment).
    if "pero_ocr.utils" in sys.modules:
        return
    package = importlib.import_module("pero_ocr")
    utils = types.ModuleType("pero_ocr.utils")
    utils.__dict__.update(jit=_no_jit, compose_path=_compose_path)
    sys.modules[utils.__name__] = utils
    package.__dict__["utils"] = utils


def _no_jit(*functions: Callable[..., Any], **_options: object) -> Any:
    return functions[0] if functions else lambda function: function


def _compose_path(path: str, folder: str) -> str:
    return str(Path(folder) / path) if folder else path


def _quiet(module: types.ModuleType) -> None:
    # pero-ocr prints to stdout; a global of the module hides the builtin without touching other threads' output.
    def to_log(*values: object, **_options: object) -> None:
        logger.debug("%s: %s", module.__name__, " ".join(map(str, values)))

    module.__dict__["print"] = to_log


def _let_multipolygons_iterate() -> None:
    # Since shapely 2, only .geoms can be iterated; clustered_lines_to_polygons would lose the page.
    if not hasattr(shapely.geometry.MultiPolygon, "__iter__"):
        shapely.geometry.MultiPolygon.__iter__ = lambda self: iter(self.geoms)


def _reverse_line_mapping(
    _cropper: object, forward: NDArray[Any], samples: NDArray[Any], values: NDArray[Any]
) -> NDArray[Any]:
    # The original's search never leaves its first step, so it interpolates linearly between the two ends.
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (samples - forward[-1]) / (forward[0] - forward[-1])
    return np.asarray((1 - share) * values[-1] + share * values[0])


def _load_net(net: Any, model_path: str, device: Any, max_mp: float | None = None) -> None:
    net.max_megapixels = 5 if max_mp is None else max_mp
    net.device = device
    net.net = _load_script(model_path, device)


def _load_recogniser(recogniser: Any) -> None:
    recogniser.model = _load_script(recogniser.checkpoint, recogniser.device)


def _construct_lm(path: str, config_path: str = "") -> Any:
    model = load_language_model(_compose_path(path, config_path))
    # How many symbols the model has that the recogniser lacks: pero-ocr assumes two.
    model._unused_prefix_len = 2
    return model


def _load_script(path: str, device: Any) -> Any:
    return load_script(model_file(path, device), device).to(device).eval()
