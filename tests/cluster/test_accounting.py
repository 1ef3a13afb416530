"""Every page of a job is accounted for: sent = done + failed + waiting, whatever happens on the way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster.test_publish_download import _state, finished, run, state
from cluster.test_workers import DUMMY, running_worker, until
from PIL import Image

from pero_worker.cli.upstream import dummy_msg_generator, publisher
from pero_worker.cluster.pages.dead import dead_letters, settle
from pero_worker.errors import UsageError
from pero_worker.request import Payload, StageStatus
from pero_worker.wire.queues import DEAD_LETTERS
from pero_worker.wire.requests import decode_request, encode_request

if TYPE_CHECKING:
    from cluster.conftest import TestCluster

__all__ = ["state"]
OCR = DUMMY + "LINE = read\nFAIL_NAME = bad*\n"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("bad1", "bad2", *(f"good{number}" for number in range(10))):
        Image.new("L", (20, 10)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def stages(cluster: TestCluster) -> Iterator[TestCluster]:
    """`ocr` and `more` have models, `out` has none."""
    cluster.add_stage("ocr", OCR)
    cluster.add_stage("more", OCR)
    cluster.add_stage("out")
    yield cluster


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Measures the peak of the memory that this process allocates in the block, in bytes; known at its end."""
    tracemalloc.start()
    most = 0
    try:
        yield lambda: most
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def waiting(cluster: TestCluster, *queues: str) -> int:
    with cluster.broker() as broker:
        return sum(broker.lengths(queues).values())


def told(folder: Path) -> Counter[str]:
    return Counter(json.loads(line)["status"] for line in (folder / "report.jsonl").read_text().splitlines())


def serve(cluster: TestCluster, tmp_path: Path, until_done: Callable[[], bool]) -> None:
    with cluster.client() as client, running_worker(cluster, tmp_path):
        until(lambda: client.exists("/pero/worker/status/w1/queue") is not None)
        client.set("/pero/worker/status/w1/queue", b"ocr")
        until(until_done, 120)


# -- what the sender is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("out,ocr", "'out' is an output queue"),
        ("ocr,more", "'more', has a model"),
        ("ocr,out,more", "'out' is an output queue"),
        ("ocr,out,out", "'out' is an output queue"),
        ("ocr,pero.dead", "no pages go to the queue 'pero.dead'"),
        ("log,out", "no pages go to the queue 'log'"),
    ],
)
def test_a_stage_list_in_no_order_is_refused(stages: TestCluster, scans: Path, names: str, why: str) -> None:
    assert why in run(stages, "publish", scans, "--stages", names, expect=2)
    for command, more in ((publisher, ["-i", str(scans / "bad1.png")]), (dummy_msg_generator, ["-n", "3"])):
        done = upstream(stages, command.__name__, "-t", *names.split(","), *more)
        assert done.returncode == 2 and why in done.stderr, done.stderr
    assert waiting(stages, "ocr", "more", "out") == 0


def test_other_programs_may_serve_stages_without_a_model(stages: TestCluster, scans: Path) -> None:
    said = run(stages, "publish", scans, "--stages", "out,ocr", "--force")
    assert "12 pages sent" in said and waiting(stages, "out") == 12


def test_ocr_on_a_cluster_goes_through_stages_with_a_model(stages: TestCluster, scans: Path, tmp_path: Path) -> None:
    there = ["--cluster", stages.zookeeper, "--stages"]
    assert "'out' is an output queue" in run(stages, "ocr", scans, "-o", tmp_path / "o", *there, "ocr,out", expect=2)
    long = ["publish", scans, "-w", "-o", tmp_path / "o", "--stages"]
    assert "'out' is an output queue" in run(stages, *long, "ocr,out,out", expect=2)
    assert "too many" in run(stages, *long, ",".join(["ocr"] * 300) + ",out", expect=2)


def upstream(cluster: TestCluster, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    script = f"from pero_worker.cli.upstream.common import run; from {module} import main; run(main)"
    command = [sys.executable, "-c", script, "-z", cluster.zookeeper, *map(str, arguments)]
    environment = cluster.environment() | _state
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_download_takes_no_pages_that_wait_to_be_processed(stages: TestCluster, scans: Path, tmp_path: Path) -> None:
    run(stages, "publish", scans, "--stages", "ocr,out", "--job", "box")
    assert "'ocr' is a stage that processes" in run(stages, "download", "ocr", "-o", tmp_path / "d", expect=2)
    assert "pero-worker dead" in run(stages, "download", DEAD_LETTERS, "-o", tmp_path / "d", expect=2)
    assert "pero-worker log" in run(stages, "download", "log", "-o", tmp_path / "d", "--force", expect=2)
    assert "there is no queue" in run(stages, "download", "x" * 300, "-o", tmp_path / "d", expect=5)
    done = upstream(stages, publisher.__name__, "-d", "ocr", "-r", tmp_path / "d")
    assert done.returncode == 2 and "'ocr' is a stage that processes" in done.stderr
    assert not (tmp_path / "d").exists() and waiting(stages, "ocr") == 12
    said = run(stages, "download", "ocr", "-o", tmp_path / "d", "--force", expect=3)
    assert "12 pages in" in said and "12 of them failed" in said and "no stage has processed this page" in said
    assert told(tmp_path / "d") == {"failed": 12}
    assert len(list((tmp_path / "d").rglob("*.png"))) == 12, "what was taken away is at least there"


# -- the numbers add up -----------------------------------------------------------------------------------------


def test_every_page_of_a_job_is_accounted_for(stages: TestCluster, scans: Path, tmp_path: Path) -> None:
    """Through publish, worker, download, crashes of all three, and repeated commands."""
    (scans / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    out = tmp_path / "results"
    send = ["publish", scans, "--stages", "ocr,out", "--job", "box"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pero_worker", *map(str, send), "-q"], env=stages.environment() | _state
    )
    until(lambda: waiting(stages, "ocr") >= 2)
    process.kill()
    process.wait()
    said = run(stages, *send, expect=3)
    sent, before, not_sent = map(
        int, re.findall(r"(\d+) pages sent as job box, (\d+) sent before, (\d+) not sent", said)[0]
    )
    assert (sent + before, not_sent) == (12, 1)
    assert waiting(stages, "ocr") in {12, 13}, "a page that was killed before it was noted down travels twice"

    serve(stages, tmp_path, lambda: waiting(stages, "out") >= 3)  # The worker is killed with a page in hand.
    serve(stages, tmp_path, lambda: waiting(stages, "out") >= 12 and not waiting(stages, "ocr"))

    download = ["download", "out", "-o", out, "-f", "page,text"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pero_worker", *map(str, download), "-q"], env=stages.environment() | _state
    )
    report = out / "report.jsonl"
    until(lambda: process.poll() is not None or (report.exists() and b"\n" in report.read_bytes()))
    process.kill()
    process.wait()
    run(stages, *download, expect=None)
    assert told(out) == {"done": 10, "failed": 2}
    assert waiting(stages, "ocr", "out", DEAD_LETTERS) == 0
    assert {path.stem.split(".")[0] for path in out.glob("*.txt")} == {f"good{number}" for number in range(10)}

    assert "0 pages sent as job box, 12 sent before, 1 not sent" in run(stages, *send, expect=3)
    said = run(stages, *send, "--retry-failed", out, expect=3)
    assert "0 pages sent as job box, 10 sent before, 2 that failed sent again, 1 not sent" in said
    said = run(stages, *send, "--retry-failed", out, expect=3)
    assert "12 sent before, 1 not sent" in said, "what is on its way is not sent once more"
    assert waiting(stages, "ocr") == 2
    stages.add_stage("ocr", DUMMY + "LINE = read\n")
    serve(stages, tmp_path, lambda: waiting(stages, "out") == 2)
    assert "2 pages in" in run(stages, *download)
    assert told(out) == {"done": 12}
    assert len(list(out.glob("*.txt"))) == 12, "none lies beside its failure under another name"
    assert "12 sent before, 1 not sent" in run(stages, *send, "--retry-failed", out, expect=3)


def test_one_command_sends_a_job_at_a_time(stages: TestCluster, scans: Path, tmp_path: Path) -> None:
    from pero_worker.cluster.pages.publish import SentPages  # noqa: PLC0415 - to hold the lock

    held = SentPages(tmp_path / "state/pero-worker/jobs/box")
    assert "another command sends the job" in run(
        stages, "publish", scans, "--stages", "ocr,out", "--job", "box", expect=2
    )
    held.close()
    assert "--job" in run(stages, "publish", scans, "--stages", "ocr,out", "--retry-failed", tmp_path, expect=2)
    again = ["publish", scans, "--stages", "ocr,out", "--job", "box", "--retry-failed", tmp_path / "nothing"]
    assert "tree layout" in run(stages, *again, expect=2)


# -- failed pages are tried again -------------------------------------------------------------------------------


def failed(name: str, **changes: object) -> bytes:
    """Returns a message for a page that a worker gave up."""
    request = decode_request(finished(name, name))
    log = replace(request.logs[0], status=StageStatus.FAILED, log=f"no light on {name}\nmore", attempt=3)
    return encode_request(replace(request, logs=(log, log, log), **changes))  # type: ignore[arg-type]


def test_failed_pages_in_an_output_queue_are_tried_again(stages: TestCluster) -> None:
    with stages.broker() as broker:
        for name in ("a", "b", "c"):
            broker.publish("out", finished(f"good-{name}", f"good-{name}"))
            broker.publish("out", failed(name))
    said = run(stages, "dead", "list", "--queue", "out")
    assert [line.split()[0] for line in said.splitlines()] == ["number", "1", "2", "3"]
    assert "no light on b" in said and "good" not in said
    assert "no light on b" in run(stages, "dead", "show", "2", "--queue", "out")
    assert "'ocr' is a stage" in run(stages, "dead", "list", "--queue", "ocr", expect=2)
    assert "1 sent back" in run(stages, "dead", "replay", "2", "--queue", "out")
    assert waiting(stages, "out") == 5
    with stages.broker() as broker:
        taken = broker.take("ocr")
        assert taken is not None
        again = decode_request(taken[0].body)
        broker.ack(taken[0])
        order = [(found := broker.take("out")) and decode_request(found[0].body).source for _ in range(5)]
    assert (again.stages, again.logs, again.source, again.page_uuid) == (("ocr", "out"), (), "b", "b")
    assert again.uuid != "m-b" and len(again.results) == 2
    assert order == ["good-a", "a", "good-b", "good-c", "c"], "the others stay as they were"


def test_a_download_keeps_the_messages_of_what_failed(stages: TestCluster, tmp_path: Path) -> None:
    with stages.broker() as broker:
        broker.publish("out", finished("good", "good"))
        broker.publish("out", failed("a"))
    assert "1 of them failed" in run(stages, "download", "out", "-o", tmp_path / "d", "--keep-failed", expect=3)
    with stages.broker() as broker:
        broker.publish("out", failed("b"))
    done = upstream(stages, publisher.__name__, "-d", "out", "-r", tmp_path / "r", "--keep-failed")
    assert done.returncode == 3, done.stderr
    said = run(stages, "dead", "list")
    assert "no light on a" in said and "no light on b" in said
    assert "2 sent back" in run(stages, "dead", "replay", "--all")
    assert waiting(stages, "ocr") == 2 and waiting(stages, "out", DEAD_LETTERS) == 0


def test_letters_are_read_one_at_a_time(stages: TestCluster) -> None:
    """A thousand of 5 MB each must not take 5 GB."""
    body = encode_request(
        replace(decode_request(failed("large")), results=(Payload(name="a.png", content=bytes(5_000_000)),))
    )
    with stages.broker() as broker:
        broker.declare(DEAD_LETTERS)
        for _ in range(20):
            broker.publish(DEAD_LETTERS, body)
        with peak() as grown:
            letters = dead_letters(broker, 1000)
        assert grown() < 60_000_000
        assert [letter.number for letter in letters] == list(range(1, 21))
        assert {letter.size for letter in letters} == {len(body)}
        with peak() as grown:
            assert settle(broker, lambda letter: letter.number % 2 == 0, True, 1000) == set(range(2, 21, 2))
        assert grown() < 60_000_000
    assert waiting(stages, DEAD_LETTERS) == 10 and waiting(stages, "ocr") == 10


def test_a_letter_whose_queue_is_gone_stays(stages: TestCluster) -> None:
    with stages.broker() as broker:
        broker.declare(DEAD_LETTERS)
        log = replace(decode_request(failed("a")).logs[0], stage="gone")
        broker.publish(DEAD_LETTERS, failed("b"))
        broker.publish(DEAD_LETTERS, encode_request(replace(decode_request(failed("a")), logs=(log,))))
        with pytest.raises(UsageError, match="message 2 cannot go back to gone"):
            settle(broker, lambda _letter: True, True, 1000)
    assert waiting(stages, DEAD_LETTERS) == 1 and waiting(stages, "ocr") == 1


# -- pages without PAGE XML -------------------------------------------------------------------------------------


def test_results_without_page_xml_are_kept_as_they_came(stages: TestCluster, tmp_path: Path) -> None:
    picture = (
        Payload(name="a.png", content=b"image"),
        Payload(name="../table.csv", content=b"1,2"),
        Payload(name="a.png", content=b"second"),
    )
    bad = (Payload(name="b.png", content=b"image"), Payload(name="b.xml", content=b"<no"))
    only = tuple(payload for payload in decode_request(finished("c", "c")).results if payload.name.endswith("xml"))
    with stages.broker() as broker:
        broker.publish("out", finished("box/a", "a", results=picture))
        broker.publish("out", finished("b", "b", results=bad))
        broker.publish("out", finished("c", "c", results=only))
        broker.publish("out", finished("d", "d", results=()))
        broker.publish("out", failed("e"))
    said = run(stages, "download", "out", "-o", tmp_path, "-f", "page", expect=3)
    assert "5 pages in" in said and "3 of them failed" in said
    lines = {line["page"]: line for line in map(json.loads, (tmp_path / "report.jsonl").read_text().splitlines())}
    assert {name: line["status"] for name, line in lines.items()} == {
        "box/a": "done",
        "b": "failed",
        "c": "done",
        "d": "failed",
        "e": "failed",
    }
    kept = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.results/*")}
    assert kept["box/a.results/a.png"] == b"image" and kept["box/a.results/_._table.csv"] == b"1,2"
    assert kept["box/a.results/a_2.png"] == b"second" and kept["b.results/b.xml"] == b"<no"
    assert set(lines["b"]["outputs"].values()) <= set(kept)
    assert (tmp_path / "c.page.xml").exists()


# -- what commands say about failed pages -----------------------------------------------------------------------


def test_what_a_message_says_has_no_say_over_a_terminal(stages: TestCluster, tmp_path: Path) -> None:
    hostile = "page\x1b]52;c;cHduZWQ=\x07\x9b2J\u202e\nFAKE: 100 pages ok"
    request = decode_request(failed("a"))
    log = replace(request.logs[0], log=hostile, host_id=hostile)
    body = encode_request(replace(request, uuid=hostile, source=hostile, logs=(log,)))
    with stages.broker() as broker:
        broker.declare(DEAD_LETTERS)
        for queue in ("out", DEAD_LETTERS):
            broker.publish(queue, body)
    said = run(stages, "download", "out", "-o", tmp_path / "d", expect=3)
    said += run(stages, "dead", "list") + run(stages, "dead", "show", "1")
    assert "FAKE" in said
    assert all(character.isprintable() or character == "\n" for character in said)
    assert not [line for line in said.splitlines() if line.startswith("FAKE")]
