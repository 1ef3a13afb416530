"""A job from paths to results, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from test_run import Workforce

from pero_worker.errors import NoInputError, StageError, UsageError
from pero_worker.jobs.job import Job, JobRequest, JobState, OpenWorkforce
from pero_worker.jobs.listener import RunListener
from pero_worker.jobs.options import RunOptions
from pero_worker.jobs.outputs import OutputFolder
from pero_worker.jobs.records import PageRecord, PageStatus
from pero_worker.jobs.workforce import PageOutcome


class Held(Workforce):
    """Gives its second page out when `free` is set."""

    def __init__(self) -> None:
        super().__init__({})
        self.free = threading.Event()
        self.finished: bool | None = None
        self.first = threading.Event()

    def outcomes(self, timeout: float) -> Sequence[PageOutcome]:
        if len(self.taken) > 1 and not self.free.wait(0.01):
            return ()
        outcomes: Sequence[PageOutcome] = super().outcomes(timeout)
        return outcomes

    def stop(self, finished: bool) -> None:
        self.finished = finished


def opened(workforce: Workforce, notice: str = "") -> OpenWorkforce:
    @contextmanager
    def open_workforce(folder: OutputFolder, listener: RunListener) -> Iterator[Workforce]:
        if notice:
            listener.notice(notice)
        yield workforce

    return open_workforce


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in "abc":
        Image.new("L", (20, 10)).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def request(scans: Path, workforce: OpenWorkforce) -> JobRequest:
    options = RunOptions(formats=("text",))
    return JobRequest(paths=[str(scans)], output=scans.parent / "out", options=options, workforce=workforce)


def test_a_job_tells_how_far_it_is_and_what_came(scans: Path) -> None:
    workforce, seen, first = Held(), [], threading.Event()

    def on_page(record: PageRecord) -> None:
        seen.append(record.page)
        first.set()

    job = Job(request(scans, opened(workforce, "no worker runs")), on_page)
    assert first.wait(60)
    status = job.status()
    assert (status.state, status.expected, status.done, status.workers) == (JobState.RUNNING, 3, 1, 1)
    assert status.notices == ("no worker runs",)
    with pytest.raises(TimeoutError, match="goes on"):
        job.wait(0.01)
    assert [record.page for record in job.results()] == ["a"]
    workforce.free.set()
    summary = job.wait(60)
    assert (summary.done, summary.failed, summary.interrupted) == (3, 0, False)
    assert summary.discovery is not None
    assert summary.discovery.no_images.count == 1
    assert job.status().state is JobState.DONE
    assert seen == ["a", "b", "c"] == [record.page for record in job.results()]


def test_a_cancelled_job_keeps_what_it_has_and_goes_on_as_the_same_job(scans: Path) -> None:
    workforce, first = Held(), threading.Event()
    job = Job(request(scans, opened(workforce)), lambda _record: first.set())
    assert first.wait(60)
    job.cancel()
    assert job.wait(60).interrupted
    assert job.status().state is JobState.CANCELLED
    assert workforce.finished is False
    assert {record.status for record in job.results()} == {PageStatus.DONE}
    again = Job(request(scans, opened(Workforce({}))))
    assert (again.wait(60).done, again.status().finished_before) == (2, 1)


def test_a_job_that_cannot_go_on_says_why_when_it_is_waited_for(scans: Path) -> None:
    @contextmanager
    def broken(folder: OutputFolder, listener: RunListener) -> Iterator[Workforce]:
        raise StageError("no model")
        yield

    job = Job(request(scans, broken))
    with pytest.raises(StageError, match="no model"):
        job.wait(60)
    assert job.status().state is JobState.FAILED
    with pytest.raises(NoInputError):
        Job(request(scans / "nothing", opened(Workforce({})))).wait(60)


def test_two_jobs_do_not_write_to_one_folder(scans: Path) -> None:
    workforce, first = Held(), threading.Event()
    job = Job(request(scans, opened(workforce)), lambda _record: first.set())
    assert first.wait(60)
    with pytest.raises(UsageError, match="another run"):
        Job(request(scans, opened(Workforce({})))).wait(60)
    workforce.free.set()
    assert job.wait(60).done == 3
