"""Engines recognise pages; they are plugins in the entry-point group `pero_worker.engines`."""

from pero_worker.engines.registry import EngineInfo, installed_engines, load_engine

__all__ = ["EngineInfo", "installed_engines", "load_engine"]
