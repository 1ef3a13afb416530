"""The command lines of upstream's first release on real servers, flag by flag (contract, section d)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cluster.test_upstream_commands import DUMMY, HOME, PRIORITY_0, PRIORITY_3, ftp, tree, upstream_command
from cluster.upstream import UpstreamRequest, channel

from pero_worker.cli.upstream import config_manager, publisher
from pero_worker.cluster.registry.servers import FTP, MONITORING, MQ, list_names
from pero_worker.errors import NoInputError, StageError, UsageError

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

__all__ = ["ftp", "upstream_command"]  # fixtures
FLAGS = {
    "scripts/config_manager.py": "-z --zookeeper -l --zookeeper-list -s --mq-servers -m --mq-list --ftp-servers "
    "--monitoring-servers -u --user -p --password -c --config -r --remote-path -n --name -a --administrative-priority "
    "-f --file -t --target-file -d --delete -k --keep-config --update-mq-servers --update-ftp-servers "
    "--update-monitoring-servers",
    "worker/worker.py": "-z --zookeeper -l -i --id -b --broker-servers -f --ftp-servers --tmp-directory -u -p",
    "worker/worker_watchdog.py": "-z --zookeeper -l -u -p --dry-run",
    "scripts/publisher.py": "-z -l -s --mq-servers -m --mq-list -d --download -k --keep-running -r --directory -i --images "
    "-t --stages -p -y --priority --count-statistics --save-message -u --user --password -e --ca-cert",
    "scripts/controller.py": "-z -l -s --status -q --queues -i --switch -d --shutdown -r --remove",
    "scripts/dummy_msg_generator.py": "--size --size-range --size-delta -n --number -i --interval -c --count -t -p",
    "scripts/stats.py": "-d -r -s",
}


@pytest.mark.parametrize("script", FLAGS)
def test_every_flag_is_there(script: str) -> None:
    command = [sys.executable, str(HOME / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    words = set(done.stdout.replace(",", " ").replace("[", " ").replace("]", " ").split())
    assert set(FLAGS[script].split()) <= words


def test_servers_are_registered(cluster: TestCluster, upstream_command: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "mq").write_text("10.0.0.1\n10.0.0.2:5673\n")
    upstream_command(config_manager, "-m", tmp_path / "mq", "--update-mq-servers", "--update-monitoring-servers")
    upstream_command(config_manager, "--ftp-servers", "10.0.0.3", "--update-ftp-servers")
    with cluster.client() as client:
        assert list_names(client, MQ) == ("10.0.0.1", "10.0.0.2:5673")
        assert list_names(client, MONITORING) == ("10.0.0.1", "10.0.0.2")
        assert list_names(client, FTP) == ("10.0.0.3",)
        assert client.get("/pero/worker/config/mq_servers/10.0.0.1")[0] == b""
    upstream_command(config_manager, "-s", "10.0.0.1", "--update-mq-servers", "--delete")
    with cluster.client() as client:
        assert list_names(client, MQ) == ("10.0.0.2:5673",)
    with pytest.raises(UsageError, match="--update-ftp-servers needs --ftp-servers"):
        upstream_command(config_manager, "--update-ftp-servers")


def test_stages_are_made_and_removed(
    cluster: TestCluster, upstream_command: Callable[..., str], tmp_path: Path
) -> None:
    mq = ["-s", f"127.0.0.1:{cluster.rabbitmq.port}"]
    config = tmp_path / "config.ini"
    config.write_text(DUMMY)
    upstream_command(config_manager, *mq, "--name", "s1", "--config", config, "--remote-path", "m/a.tar.xz")
    made = tree(cluster, "/pero/queue/s1")
    assert (made["config"], made["config_path"]) == (DUMMY.encode(), b"m/a.tar.xz")
    assert made["administrative_priority"] == PRIORITY_0
    upstream_command(config_manager, *mq, "-n", "s1", "-a", 3)
    assert tree(cluster, "/pero/queue/s1")["administrative_priority"] == PRIORITY_3
    upstream_command(config_manager, *mq, "-n", "out")
    assert tree(cluster, "/pero/queue/out") == {}
    with cluster.broker() as broker:
        assert broker.state("s1") and broker.state("out")
        upstream_command(config_manager, *mq, "-n", "s1", "--delete", "--keep-config")
        assert broker.state("s1") is None
        assert tree(cluster, "/pero/queue/s1")["config"] == DUMMY.encode()
        upstream_command(config_manager, *mq, "-n", "s1", "-d")
        assert tree(cluster, "/pero/queue/s1") == {}


def test_a_file_is_put_into_the_store(
    cluster: TestCluster, upstream_command: Callable[..., str], ftp: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.ini").write_text(DUMMY)
    (tmp_path / "m.tar").write_bytes(b"weights")
    mq = ["-s", f"127.0.0.1:{cluster.rabbitmq.port}"]
    upstream_command(
        config_manager, *mq, "-n", "s1", "-c", tmp_path / "config.ini", "-f", tmp_path / "m.tar", "-t", "s1/m.tar"
    )
    assert (ftp / "s1/m.tar").read_bytes() == b"weights"
    assert tree(cluster, "/pero/queue/s1")["config_path"] == b"s1/m.tar"
    with pytest.raises(UsageError, match="where the archive goes"):
        upstream_command(config_manager, *mq, "-n", "s1", "-f", tmp_path / "m.tar")


def test_images_are_published(cluster: TestCluster, upstream_command: Callable[..., str], tmp_path: Path) -> None:
    """Every file in the folder but none of its subfolders; priority and stages as given."""
    cluster.add_stage("s1", DUMMY)
    cluster.add_stage("out")
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "deeper/c.jpg"):
        (folder / name).write_bytes(name.encode())
    (tmp_path / "d.jpg").write_bytes(b"d")
    (tmp_path / "mq").write_text(f"127.0.0.1:{cluster.rabbitmq.port}")
    upstream_command(
        publisher, "-m", tmp_path / "mq", "-r", folder, "-i", tmp_path / "d.jpg", "-t", "s1", "out", "-p", 1
    )
    found: dict[str, Any] = {}
    with channel(cluster) as ch:
        for _ in range(3):
            method, properties, body = ch.basic_get("s1", auto_ack=True)
            request = UpstreamRequest.FromString(body)
            (image,) = request.results
            found[image.name] = image.content
            assert (properties.priority, properties.delivery_mode, request.priority) == (1, 2, 1)
            assert list(request.processing_stages) == ["s1", "out"]
            assert len(request.uuid) == len(request.page_uuid) == 32 and request.uuid != request.page_uuid
            assert request.start_time.seconds and method.exchange == ""
        assert ch.basic_get("s1")[0] is None
    assert found == {"a.jpg": b"a.jpg", "b.jpg": b"b.jpg", "d.jpg": b"d"}


def test_results_are_downloaded(cluster: TestCluster, upstream_command: Callable[..., str], tmp_path: Path) -> None:
    cluster.add_stage("out")
    request = UpstreamRequest(uuid="u1", page_uuid="p1", processing_stages=["out"])
    request.results.add(name="a.jpg", content=b"image")
    log = request.logs.add(host_id="w1", stage="s1", status="OK")
    log.end.FromSeconds(2)
    body = request.SerializeToString()
    with channel(cluster) as ch:
        ch.basic_publish("", "out", body)
    said = upstream_command(publisher, "-d", "out", "-r", tmp_path / "results", "--save-message", "--count-statistics")
    assert "1 page in" in said and "stage s1: 1 run, mean 2.000 s" in said
    folder = tmp_path / "results" / "u1"
    assert {path.name for path in folder.iterdir()} == {"a.jpg", "s1.log", "u1_info.txt", "message_body"}
    assert (folder / "message_body").read_bytes() == body


def test_what_cannot_be_done_is_said(
    cluster: TestCluster, upstream_command: Callable[..., str], tmp_path: Path
) -> None:
    cluster.add_stage("s1", "[WORKER]\nDUMMY = yes\n")
    cluster.add_stage("out")
    with pytest.raises(StageError, match="no queue 'nowhere'"):
        upstream_command(publisher, "-d", "nowhere", "-r", tmp_path / "results")
    assert not (tmp_path / "results").exists()
    with pytest.raises(NoInputError, match="no images"):
        upstream_command(publisher, "-t", "s1", "out")
    said = upstream_command(publisher, "-t", "s1", "out", "-i", tmp_path / "none.jpg")
    assert said == "0 of 1 sent\n", "what cannot be read stops itself only"
    with pytest.raises(SystemExit) as ended:
        upstream_command(publisher, "-d", "out")
    assert ended.value.code == 2
