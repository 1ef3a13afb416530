"""What administrators are told of stages and workers."""

from __future__ import annotations

from pathlib import Path

from pero_worker.cluster.registry.workers import ZK_CONNECTION_FAILED, WorkerState
from pero_worker.cluster.state import ClusterState, Look, StageState
from pero_worker.gateway.core import open_gateway
from pero_worker.gateway.farm_events import FarmWatch
from pero_worker.gateway.overview import NoOverview, Watching
from pero_worker.gateway.settings import GatewaySettings
from pero_worker.gateway.store import dispatch
from pero_worker.gateway.store.events import events_after


class Shown(NoOverview):
    """An overview that shows what it is given."""

    def __init__(self) -> None:
        self.seen = Look()

    def look(self) -> ClusterState:
        return ClusterState(look=self.seen, problems=())


def worker(status: str = "IDLE", *stages: str) -> WorkerState:
    return WorkerState(name="w", status=status, stages=stages)


def test_what_changes_is_told_once(tmp_path: Path) -> None:
    gateway = open_gateway(GatewaySettings(data=tmp_path))
    shown = Shown()
    clock = iter(range(0, 10_000, 100))
    gateway.watching = Watching(shown, lambda: float(next(clock)))
    watches = [FarmWatch(gateway, name) for name in ("b", "a")]
    with gateway.database.write() as connection:
        for name in ("b", "a"):
            dispatch.beat(connection, name, 1.0)
    ocr = StageState(name="ocr", messages=0, version="1")
    for look in (
        Look(stages=(ocr,), workers=(worker(),)),
        Look(stages=(ocr,), workers=(worker("PROCESSING", "ocr"),)),
        Look(stages=(ocr,), workers=(worker("IDLE", "ocr"),)),
        Look(away=(("ZooKeeper", "it does not answer"),)),
        Look(
            stages=(StageState(name="ocr", messages=7, version="2", trouble="no model"),),
            workers=(worker("IDLE", "ocr"),),
        ),
        Look(workers=(worker(ZK_CONNECTION_FAILED, "ocr"),)),
    ):
        shown.seen = look
        for watch in watches:
            watch.look()
    with gateway.database.read() as connection:
        told = [(event["owner"], event["kind"], event["data"]) for event in events_after(connection, 0, 100)]
    assert told == [
        ("", "farm.worker", {"worker": "w", "state": "changed", "there": True, "stages": ["ocr"]}),
        (
            "",
            "farm.stage",
            {"stage": "ocr", "state": "changed", "version": "2", "disabled": False, "trouble": "no model"},
        ),
        ("", "farm.stage", {"stage": "ocr", "state": "removed"}),
        ("", "farm.worker", {"worker": "w", "state": "changed", "there": False, "stages": []}),
    ]
    gateway.apart.close()
    gateway.database.close()
