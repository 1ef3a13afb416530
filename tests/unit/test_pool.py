"""When a worker process that ended is started again."""

from __future__ import annotations

from pathlib import Path

from pero_worker.cluster.workers.supervisor import Member
from pero_worker.cluster.workers.worker import ClusterWorkerSettings
from pero_worker.worker.timelimit import RECYCLED


def put_off(member: Member, status: int, lived: float) -> float:
    """How long the process is put off after it lived for so many seconds."""
    member.begun = 100.0
    member.put_off(status, 100.0 + lived)
    return member.due - (100.0 + lived)


def test_a_process_that_dies_at_once_is_started_ever_later_and_one_that_worked_soon() -> None:
    member = Member(ClusterWorkerSettings("w", Path()))
    pauses = [put_off(member, -9, 1) for _ in range(9)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert put_off(member, -9, 60) == 0.5


def test_a_process_that_wants_to_be_started_anew_is_not_put_off() -> None:
    member = Member(ClusterWorkerSettings("w", Path()))
    assert [put_off(member, RECYCLED, 1) for _ in range(3)] == [0, 0, 0]
