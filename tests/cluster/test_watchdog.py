"""What our watchdog and our workers tell each other beyond upstream's nodes, on real servers."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cluster import upstream
from cluster.test_model_remote import PASSWORD, USER, server
from cluster.test_workers import DUMMY, collect, page, running_watchdog, running_worker, until

from pero_worker.clock import SystemClock
from pero_worker.cluster.registry import workers
from pero_worker.cluster.registry.changes import StageChange, save_stage
from pero_worker.cluster.registry.stages import read_record
from pero_worker.cluster.registry.workers import read_worker
from pero_worker.errors import StageError
from pero_worker.servers.daemon import free_port
from pero_worker.stage import Sharing
from pero_worker.stores.location import StoreAccess
from pero_worker.watchdog import observer, service
from pero_worker.watchdog.policy import PlanRule
from pero_worker.watchdog.snapshot import Move, Snapshot

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

WORKER = "/pero/worker/status/w1"


def test_one_worker_holds_all_stages_that_fit_its_memory(cluster: TestCluster, tmp_path: Path) -> None:
    for name in ("s1", "s2", "s3"):
        cluster.add_stage(name, DUMMY)
    cluster.add_stage("out")
    with (
        cluster.client() as client,
        cluster.broker() as broker,
        running_watchdog(cluster),
        running_worker(cluster, tmp_path),
    ):
        for number in range(30):
            broker.publish("s1", page(number, "s1", "s2", "s3", "out"))
        assert len(collect(cluster, 30)) == 30
        told = json.loads(client.get(f"{WORKER}/stages")[0])
        assert sorted(told) == ["s1", "s2", "s3"]
        assert client.get(f"{WORKER}/queue")[0].decode() == told[0], "upstream's tools see the first"
        until(lambda: sorted(read_worker(client, "w1").facts["stages"]) == ["s1", "s2", "s3"])


def test_one_stage_at_a_time_where_memory_is_for_one(cluster: TestCluster, tmp_path: Path) -> None:
    for name in ("s1", "s2"):
        cluster.add_stage(name, DUMMY)
    cluster.add_stage("out")
    alone = running_worker(cluster, tmp_path, model_memory=0)
    with cluster.client() as client, cluster.broker() as broker, running_watchdog(cluster), alone:
        for number in range(5):
            broker.publish("s1", page(number, "s1", "s2", "out"))
        assert len(collect(cluster, 5)) == 5
        assert client.get(f"{WORKER}/stages")[0] == b"", "it is commanded as upstream's workers are"
        assert client.get(f"{WORKER}/queue")[0] == b"s2"


def test_a_command_of_upstreams_is_for_that_stage_alone(cluster: TestCluster, tmp_path: Path) -> None:
    for name in ("s1", "s2"):
        cluster.add_stage(name, DUMMY)
    with cluster.client() as client, running_worker(cluster, tmp_path):
        client.set(f"{WORKER}/stages", b'["s1", "s2"]')
        client.set(f"{WORKER}/queue", b"s1")
        until(lambda: read_worker(client, "w1").facts.get("stages") == ["s1", "s2"])
        client.set(f"{WORKER}/queue", b"s2")
        until(lambda: read_worker(client, "w1").facts.get("stages") == ["s2"])
        client.set(f"{WORKER}/stages", b'["s2", "s1"]')
        client.set(f"{WORKER}/queue", b"s2")
        until(lambda: sorted(read_worker(client, "w1").facts["stages"]) == ["s1", "s2"])
        workers.assign(client, "w1", "s2")
        until(lambda: read_worker(client, "w1").facts.get("stages") == ["s2"])


def test_workers_measure_for_the_watchdog(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("s2", DUMMY)
    cluster.add_stage("out")
    with (
        cluster.client() as client,
        cluster.broker() as broker,
        running_watchdog(cluster),
        running_worker(cluster, tmp_path),
    ):
        for number in range(15):
            broker.publish("s1", page(number, "s1", *(("s2", "out") if number % 3 else ("out",))))
        collect(cluster, 15)
        until(lambda: (cost := read_record(client, "s1").measured.kinds.get("cpu")) and cost.seconds is not None)
        measured = read_record(client, "s1").measured
        assert set(measured.onward) == {"s2", "out"}
        assert measured.kinds["cpu"].load_seconds is not None and measured.kinds["cpu"].memory is not None


def test_a_stage_that_nobody_can_load_stops_no_other(
    cluster: TestCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.add_stage("bad", "[WORKER]\nENGINE = nothing\n")
    cluster.add_stage("good", DUMMY)
    cluster.add_stage("out")
    first, second = running_worker(cluster, tmp_path), running_worker(cluster, tmp_path, "w2")
    with cluster.broker() as broker, running_watchdog(cluster), first, second:
        broker.publish("bad", page(0, "bad", "out"))
        until(lambda: any("nobody is sent to stage bad" in record.message for record in caplog.records))
        for number in range(1, 6):
            broker.publish("good", page(number, "good", "out"))
        assert {request.uuid for request in collect(cluster, 5)} == {f"r{number}" for number in range(1, 6)}
        # A new version counts as another stage.
        cluster.add_stage("bad", DUMMY)
        assert collect(cluster, 1)[0].uuid == "r0"


def test_a_stage_goes_only_to_workers_with_its_label(cluster: TestCluster, tmp_path: Path) -> None:
    with cluster.client() as client, cluster.broker() as broker:
        change = StageChange(config=DUMMY, sharing={"needs": "big", "owner": "library", "share": 2.0})
        save_stage(client, broker, "s1", change, SystemClock().now())
        cluster.add_stage("out")
        record = read_record(client, "s1")
        assert record.sharing == Sharing(needs="big", owner="library", share=2.0)
        save_stage(client, broker, "s1", StageChange(sharing={"share": 3.0}), SystemClock().now())
        assert read_record(client, "s1").sharing == Sharing(needs="big", owner="library", share=3.0)
        with (
            running_watchdog(cluster),
            running_worker(cluster, tmp_path),
            running_worker(cluster, tmp_path, "w2", labels=("big",)),
        ):
            broker.publish("s1", page(1, "s1", "out"))
            assert collect(cluster, 1)[0].logs[0].host_id == "w2"


def test_who_does_not_lead_any_more_tells_nobody_anything(
    cluster: TestCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its place in the election is gone, as if its session had ended without its knowledge."""
    caplog.set_level(logging.INFO)
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with (
        cluster.client() as client,
        cluster.broker() as broker,
        running_worker(cluster, tmp_path),
        running_watchdog(cluster),
    ):
        until(lambda: any("leads" in record.message for record in caplog.records))
        (place,) = client.get_children("/pero/watchdog/election")
        client.delete(f"/pero/watchdog/election/{place}")
        broker.publish("s1", page(1, "s1", "out"))
        assert collect(cluster, 1)[0].uuid == "r1"
        said = [
            record.message for record in caplog.records if "leads" in record.message or "holds s1" in record.message
        ]
        assert [line.partition(":")[0] for line in said] == [
            "watchdog dog leads",
            "another watchdog leads",
            "watchdog dog leads",
            "worker w1 holds s1",
        ]


def command(cluster: TestCluster, *arguments: object, expect: int = 0) -> str:
    line = [sys.executable, "-m", "pero_worker", *map(str, arguments)]
    done = subprocess.run(line, env=cluster.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == expect and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_dry_run_says_what_it_would_do_and_why(cluster: TestCluster, tmp_path: Path) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("off", DUMMY, priority=-1)
    with cluster.client() as client, cluster.broker() as broker, running_worker(cluster, tmp_path):
        broker.publish("s1", page(1, "s1", "out"))
        said = command(cluster, "watchdog", "--dry-run")
        assert (
            "stage s1: 1 page waiting" in said
            and "stage off: 0 pages waiting" in said
            and "not served: disabled" in said
        )
        assert "worker w1: idle, holds nothing" in said
        assert "would have w1 hold s1: it held nothing; s1: 1 page, served by nobody" in said
        assert client.get(f"{WORKER}/queue")[0] == b""


def test_what_was_recorded_can_be_tried_again(cluster: TestCluster, tmp_path: Path) -> None:
    for name in ("s1", "s2"):
        cluster.add_stage(name, DUMMY)
    cluster.add_stage("out")
    trace = tmp_path / "trace.jsonl"
    watchdog = subprocess.Popen(
        [sys.executable, "-m", "pero_worker", "watchdog", "--record", str(trace), "--verbose"],
        env=cluster.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with cluster.broker() as broker, running_worker(cluster, tmp_path):
        for number in range(40):
            broker.publish("s1", page(number, "s1", "s2", "out"))
        collect(cluster, 40)
        watchdog.terminate()
        _, told = watchdog.communicate(timeout=20)
        assert watchdog.returncode == 0
        assert " leads" in told and re.search(r"worker w1 holds s1.*: it held nothing; s1: \d+ pages", told), told
    said = command(cluster, "watchdog", "replay", trace, "--priority", "s1=3")
    assert "as it was" in said and "with s1=3" in said and "moves" in said
    assert len(re.findall(r"^ ?s1( > s2)? +\d+ ", said, re.MULTILINE)) >= 2, said
    assert "no stage 's9'; it has: s1, s2" in command(
        cluster, "watchdog", "replay", trace, "--priority", "s9=3", expect=2
    )
    assert "write STAGE=N" in command(cluster, "watchdog", "replay", trace, "--priority", "s1=much", expect=2)
    trace.write_text("")
    assert "nothing was recorded" in command(cluster, "watchdog", "replay", trace, expect=4)


def test_no_value_in_zookeeper_stops_the_watchdog(
    cluster: TestCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("strange", DUMMY)
    cluster.add_stage("out")
    measured = {"kinds": {"cpu": {"load_seconds": 9e14, "seconds": 1e300, "memory": 10**400}}, "onward": {"x": 1e9}}
    with cluster.client() as client, cluster.broker() as broker:
        for path, value in {
            "/pero/worker/status/evil/status": b"IDLE",
            "/pero/worker/status/evil/enabled": b"false",
            "/pero/worker/status/evil/queue": b"../..",
            "/pero/worker/status/evil/info": b"[" * 200_000,
            "/pero/worker/status/odd/status": b"IDLE",
            "/pero/worker/status/odd/enabled": b"false",
            "/pero/worker/status/odd/stages": b"[NaN]",
            "/pero/worker/status/odd/info": b'{"memory": 1e999, "labels": {}, "refused": [], "stages": 5, "versions": 6}',
            "/pero/queue/strange/administrative_priority": b"\x7f" * 200,
            "/pero/queue/strange/measured": json.dumps(measured).encode(),
            "/pero/queue/strange/sharing": b'{"share": NaN, "needs": 5}',
            "/pero/queue/strange/waiting_since": b"0001-01-01T00:00:00+23:59",
            f"/pero/queue/{'x' * 300}/config": DUMMY.encode(),
        }.items():
            client.ensure_path(path)
            client.set(path, value)
        with running_watchdog(cluster), running_worker(cluster, tmp_path):
            broker.publish("strange", page(1, "strange", "s1", "out"))
            assert collect(cluster, 1)[0].uuid == "r1"
        said = [record.getMessage() for record in caplog.records if "makes no sense" in record.getMessage()]
        assert {line.split()[5] for line in said} >= {
            "/pero/worker/status/evil/info",
            "/pero/queue/strange/administrative_priority",
            "/pero/queue/strange/waiting_since",
        }
        assert len(said) == len(set(said)), "each is told once"
        assert {"evil", "odd", "w1"} <= {worker.name for worker in workers.read_workers(client)}
        assert workers.read_worker(client, "evil").unreadable == ("info",)


class FailingOnce(PlanRule):
    """Raises an unforeseen error, twice."""

    def __init__(self) -> None:
        super().__init__(interval=0.1)
        self.looks = 0

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]:
        self.looks += 1
        if self.looks < 3:
            raise ZeroDivisionError("in the plan")
        return super().decide(now, seen)


def test_a_round_that_fails_is_told_and_survived(
    cluster: TestCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with cluster.broker() as broker, running_watchdog(cluster, FailingOnce()), running_worker(cluster, tmp_path):
        broker.publish("s1", page(1, "s1", "out"))
        assert collect(cluster, 1)[0].uuid == "r1"
    told = [record.getMessage() for record in caplog.records if "ZeroDivisionError" in record.getMessage()]
    assert told == ["no commands can be sent: a round failed with ZeroDivisionError: in the plan"]


def test_a_typo_in_a_time_limit_is_refused_where_it_is_saved(cluster: TestCluster) -> None:
    with pytest.raises(StageError, match="TIME_LIMIT = abc is not a number of seconds"):
        cluster.add_stage("bad", DUMMY + "TIME_LIMIT = abc\n")
    with cluster.client() as client:
        assert client.exists("/pero/queue/bad") is None


def test_a_worker_of_upstreams_that_gave_up_is_told_to_go_on(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "_GIVEN_UP_SECONDS", 0.3)
    monkeypatch.setattr(service, "_PATIENCE_SECONDS", 0.3)
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    with (
        cluster.client() as client,
        cluster.broker() as broker,
        running_watchdog(cluster),
        upstream.Worker(cluster, "its"),
    ):
        broker.publish("s1", b"\xff garbage")
        until(lambda: read_worker(client, "its").status == "PROCESSING_FAILED")
        # The garbage is removed.
        while (delivery := broker.get(["s1"], "operator", 1)) is None:
            pass
        broker.ack(delivery)
        broker.get([], "operator", 0)
        broker.publish("s1", page(1, "s1", "out"))
        assert collect(cluster, 1)[0].logs[0].host_id == "its"


@pytest.mark.parametrize("kind", ["ours", "upstream's"])
def test_a_store_that_was_away_keeps_nobody_from_a_stage(
    cluster: TestCluster, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two workers try in vain; once the store is back, the page is done long before the minutes of a refusal are over."""
    cluster.add_stage("s1", DUMMY, archive="models/a.tar.gz")
    cluster.add_stage("out")
    root = tmp_path / "store"
    (root / "models").mkdir(parents=True)
    with tarfile.open(root / "models/a.tar.gz", "w:gz"):
        pass

    def load(_stage: str) -> None:
        if not (tmp_path / "back").exists():
            raise ValueError("the store is away")

    with ExitStack() as stack:
        port = free_port()
        for name in ("w1", "w2"):
            if kind == "ours":
                store: dict[str, Any] = {
                    "stores": (f"127.0.0.1:{port}",),
                    "store": StoreAccess(user=USER, password=PASSWORD),
                }
                stack.enter_context(running_worker(cluster, tmp_path / name, name, trust_archives=True, **store))
            else:
                stack.enter_context(upstream.Worker(cluster, name, load=load))
        client, broker = stack.enter_context(cluster.client()), stack.enter_context(cluster.broker())
        stack.enter_context(running_watchdog(cluster))
        broker.publish("s1", page(1, "s1", "out"))
        broker.publish("s1", page(2, "s1", "out"))
        until(lambda: any(state.status == "CONFIGURATION_FAILED" for state in workers.read_workers(client)))
        SystemClock().sleep(3)
        if kind == "ours":
            assert not any("nobody is sent" in record.getMessage() for record in caplog.records)
            stack.enter_context(server("ftp", root, "--port", str(port)))
        (tmp_path / "back").touch()
        assert len(collect(cluster, 2)) == 2
