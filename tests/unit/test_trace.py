"""What a watchdog saw, written to a file and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from pero_worker.errors import OutputError, UsageError
from pero_worker.messages import said
from pero_worker.stage import Cost, Sharing
from pero_worker.testing import StandingClock
from pero_worker.watchdog.snapshot import Move, Snapshot, StageView, WorkerView
from pero_worker.watchdog.trace import Recorder, read_trace

SEEN = Snapshot(
    stages=(
        StageView(
            name="ocr",
            waiting=5,
            costs={"cpu": Cost(seconds=1.0, load_seconds=2.0, memory=3)},
            arrivals=0.5,
            onward={"out": 1.0},
            unserved=7.0,
            priority=2,
            sharing=Sharing(needs="cpu", owner="us", share=2.0),
        ),
    ),
    workers=(
        WorkerView(
            name="w1", holds=("ocr",), busy=True, labels=frozenset({"b", "a"}), memory=9, refused=frozenset({"x"})
        ),
    ),
)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    file, clock = tmp_path / "trace.jsonl", StandingClock()
    with Recorder(file, clock) as recorder:
        recorder(SEEN, [Move(worker="w1", stages=("ocr",), why=(said("fixed_rule"),))])
    assert list(read_trace(file)) == [(clock.now().timestamp(), SEEN)]


def test_a_frame_is_written_when_something_is_different_and_not_all_the_time(tmp_path: Path) -> None:
    file, clock = tmp_path / "trace.jsonl", StandingClock()
    other = Snapshot(stages=(StageView(name="ocr", waiting=6),), workers=SEEN.workers)
    longer = Snapshot(stages=(StageView(name="ocr", waiting=6, unserved=3.0),), workers=SEEN.workers)
    with Recorder(file, clock) as recorder:
        recorder(SEEN, [])
        recorder(other, [])  # too soon
        clock.sleep(2)
        recorder(SEEN, [])  # nothing new
        recorder(other, [])
        clock.sleep(2)
        recorder(longer, [])  # only time has passed
        recorder(longer, [Move(worker="w1", stages=(), why=(said("fixed_rule"),))])
    assert [seen for _, seen in read_trace(file)] == [SEEN, other, longer]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    with Recorder(file, StandingClock()) as recorder:
        recorder(SEEN, [])
    whole = file.read_text()
    file.write_text(whole + whole[: len(whole) // 2])
    assert len(list(read_trace(file))) == 1


@pytest.mark.parametrize("line", ["{}", "[]", "5", "nothing", '{"time": 1, "stages": [{}], "workers": []}', "[" * 3000])
def test_what_is_no_trace_is_told(tmp_path: Path, line: str) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(UsageError, match="line 1"):
        list(read_trace(file))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        list(read_trace(tmp_path / "nothing"))
    with pytest.raises(OutputError, match="cannot record"):
        Recorder(tmp_path / "no" / "folder", StandingClock())
