"""`pero-worker worker --gateway`: works on a gateway's jobs over HTTPS alone."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from pero_worker.client.gateway import GatewayClient
from pero_worker.client.worker import LeaseSettings, LeaseWorker
from pero_worker.clock import SystemClock
from pero_worker.gateway.local_backend import LocalBackend
from pero_worker.local.machine import LocalSettings
from pero_worker.models.pipelines import Pipeline, load_pipeline
from pero_worker.models.trust import TrustedArchives, judge_by
from pero_worker.processes import Lifetime


def work_for_gateway(
    url: str,
    key: str,
    *,
    pipeline: str,
    engine: str,
    until_idle: float | None,
    settings: LocalSettings,
    trust: bool,
) -> None:
    """Works until told to stop, or until idle for `until_idle` seconds."""
    cache = Path(platformdirs.user_cache_dir("pero-worker"))
    judge, clock = judge_by(TrustedArchives(), word=trust), SystemClock()

    def load(path: Path) -> Pipeline:
        return load_pipeline(str(path), cache=cache / "pipelines", judge=judge)

    lifetime = Lifetime(grace=None)
    lifetime.begin()
    client = GatewayClient(url, key, clock=clock, stopped=lifetime.stop.is_set)
    worker = LeaseWorker(
        client,
        load_pipeline(pipeline, cache=cache / "pipelines", judge=judge),
        LeaseSettings(engine=engine or None, until_idle=until_idle, cache=cache / "engines"),
        clock,
        load=load,
        start=lambda wanted: LocalBackend([wanted], settings, Path(os.devnull), clock),
        stopped=lifetime.stop.is_set,
    )
    try:
        client.me()
        worker.run()
    finally:
        client.close()
