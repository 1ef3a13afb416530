"""Finds engines by entry point, the bundled ones included."""

from __future__ import annotations

from configparser import ConfigParser
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path

from pero_worker.errors import PeroWorkerError, StageError
from pero_worker.ports import Engine, EngineFactory
from pero_worker.stage import Stage

GROUP = "pero_worker.engines"
# The package that gives the version, and the modules without which the engine cannot run (looked for, not imported);
# third-party plugins are taken at their word.
_NEEDS = {
    "pero": ("pero-ocr", ("pero_ocr", "torch")),
    "rapidocr": ("rapidocr", ("rapidocr", "onnxruntime")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """An installed engine."""

    name: str
    """Its name, as `--engine` and ENGINE take it."""
    version: str
    """Version of the package that does the work."""
    available: bool
    """Whether it can be used here."""
    note: str = ""
    """The remedy if it is not available."""


def engine_name(config: ConfigParser) -> str:
    """Returns the engine that a config.ini asks for: dummy if it has upstream's `[WORKER] DUMMY` or FAILTEST, else our
    `[WORKER] ENGINE`, else pero."""
    if any(config.get("WORKER", key, fallback="", raw=True).strip() for key in ("DUMMY", "FAILTEST")):
        return "dummy"
    return config.get("WORKER", "ENGINE", fallback="", raw=True).strip() or "pero"


def needs_layout(config: ConfigParser) -> bool:
    """Whether a stage reads lines but does not find them itself."""
    if engine_name(config) != "pero" or not config.has_section("PAGE_PARSER"):
        return False
    steps = config["PAGE_PARSER"]

    def wants(step: str) -> bool:
        return steps.get(step, "no", raw=True).strip().lower() in {"yes", "true", "on", "1"}

    return not wants("RUN_LAYOUT_PARSER") and (wants("RUN_LINE_CROPPER") or wants("RUN_OCR"))


def load_engine(stage: Stage, directory: Path, device: str) -> Engine:
    """Loads `stage` from its unpacked files. Raises `StageError` if that is impossible."""
    config = stage.parsed()
    name = engine_name(config)
    found = _plugins().get(name)
    if found is None:
        raise StageError(f"stage {stage.name}: there is no engine {name!r}; installed: {', '.join(sorted(_plugins()))}")
    try:
        factory: EngineFactory = found.load()
        return factory(config, directory, device)
    except PeroWorkerError:
        raise
    except Exception as error:  # a plugin may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise StageError(f"stage {stage.name}: engine {name} cannot be loaded: {reason}") from error


def installed_engines() -> tuple[EngineInfo, ...]:
    return tuple(_info(entry) for _, entry in sorted(_plugins().items()))


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _info(entry: EntryPoint) -> EngineInfo:
    own = entry.dist.name if entry.dist else ""
    package, modules = _NEEDS.get(entry.name, (own, ()))
    try:
        found = version(package)
    except (PackageNotFoundError, ValueError):
        found = ""
    if found and all(find_spec(module) for module in modules):
        return EngineInfo(name=entry.name, version=found, available=True)
    return EngineInfo(
        name=entry.name, version=found or "-", available=False, note=f"pip install 'pero-worker[{entry.name}]'"
    )
