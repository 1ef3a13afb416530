"""Metrics, alerts and dashboard fit each other, and what Prometheus' own tool wants."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pero_worker.cluster.metrics import exposition
from pero_worker.cluster.problems import find_problems
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.cluster.state import ClusterState, Look, StageState
from pero_worker.errors import TransientError

HOME = Path(__file__).parents[2]
MONITORING = HOME / "monitoring"
PROMTOOL = HOME / "build/prometheus/usr/bin/promtool"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LOOK = Look(
    stages=(
        StageState(name="ocr", messages=7, workers=1, mean_seconds=0.5, last_page=NOW, waiting_since=NOW),
        StageState(name='odd "name"\n', messages=None, trouble="broken", disabled=True),
    ),
    outputs={"out": 3, "job.1": 4, "job.2": 5},
    workers=(
        WorkerState(name="w1", status="IDLE", connected=True, facts={"pages": 12, "failures": 2}),
        WorkerState(name="w2", status="ZK_CONNECTION_FAILED", facts={"pages": "many"}),
        WorkerState(name="w3", status="DEAD"),
    ),
    leader="dog",
    dead_letters=1,
    alarms=("low on disk",),
)


def text_of(look: Callable[[], ClusterState]) -> str:
    return exposition(look).decode("utf-8")


@pytest.fixture(scope="module")
def text() -> str:
    return text_of(lambda: ClusterState(look=LOOK, problems=find_problems(LOOK, NOW)))


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_was_seen_is_told(text: str) -> None:
    found = samples(text)
    assert found["pero_worker_stage_waiting_pages", "ocr"] == 7
    assert ("pero_worker_stage_waiting_pages", 'odd "name"\n') not in found, "not known is not zero"
    assert found["pero_worker_stage_load_failing", 'odd "name"\n'] == 1
    assert found["pero_worker_stage_last_page_timestamp_seconds", "ocr"] == NOW.timestamp()
    assert found["pero_worker_worker_pages_total", "w1"] == 12
    assert found["pero_worker_worker_pages_total", "w2"] == 0, "nonsense is no page"
    assert (found["pero_worker_worker_up", "w1"], found["pero_worker_worker_up", "w2"]) == (1, 0)
    assert ("pero_worker_worker_up", "w3") not in found, "a worker that was stopped is not lost"
    assert found["pero_worker_queue_messages", "job.*"] == 9
    assert (found["pero_worker_rabbitmq_alarm", "disk"], found["pero_worker_rabbitmq_alarm", "memory"]) == (1, 0)
    assert found["pero_worker_problems", "critical"] >= 1


def test_a_cluster_that_cannot_be_seen_is_a_metric() -> None:
    def look() -> ClusterState:
        raise TransientError("ZooKeeper is away")

    found = samples(text_of(look))
    assert found["pero_worker_server_up", "zookeeper"] == 0 and found["pero_worker_server_up", "rabbitmq"] == 0


def test_thousands_of_queues_are_a_bounded_number_of_series() -> None:
    look = Look(outputs={f"q{number:05}": 1 for number in range(5000)})
    found = samples(text_of(lambda: ClusterState(look=look, problems=())))
    queues = [key for key in found if key[0] == "pero_worker_queue_messages"]
    assert len(queues) == 101 and found["pero_worker_queue_messages", "others"] == 4900


def test_promtool_finds_nothing_to_criticise(text: str) -> None:
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("command", [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]])
def test_the_alerts(command: list[str]) -> None:
    ran = subprocess.run([PROMTOOL, *command], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tried() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    tried = (MONITORING / "alerts_test.yaml").read_text()
    assert len(rules) == 8
    assert all(re.search(rf"alertname: {rule['alert']}\s+exp_alerts:\s+- exp_labels", tried) for rule in rules)


def test_alerts_and_dashboard_ask_only_for_what_is_told(text: str) -> None:
    told = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    expressions = [rule["expr"] for rule in rules] + [t["expr"] for panel in panels for t in panel["targets"]]
    asked = {name for expression in expressions for name in re.findall(r"pero_worker_\w+", expression)}
    assert asked and asked <= told


ODD_NAMES = ("..", 'a"b', "a\\b", "a\nb", "ž\u202e", "{}", "x" * 255, "", "a b", "<b>", "o'c", "\x00")


def test_names_and_numbers_of_strangers_stay_labels_and_values() -> None:
    look = Look(
        stages=tuple(StageState(name=name, messages=2**63, mean_seconds=float("inf")) for name in ODD_NAMES),
        workers=tuple(
            WorkerState(name=name, status=name, facts={"pages": 10**400, "failures": 10**400}) for name in ODD_NAMES
        ),
        outputs=dict.fromkeys(ODD_NAMES, 3),
        leader=ODD_NAMES[1],
    )
    exposed = text_of(lambda: ClusterState(look=look, problems=find_problems(look, NOW)))
    found = samples(exposed)
    assert {name[1] for name in found if name[0] == "pero_worker_stage_waiting_pages"} == set(ODD_NAMES)
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=exposed, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
