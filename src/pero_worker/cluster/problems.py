"""What is wrong with a cluster, since when, and what to do about it: pure, from one look at it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from pero_worker.cluster.payloads.followers import who_cannot_follow
from pero_worker.cluster.state import Look, Problem, Severity, StageState
from pero_worker.wire.tree import TREE
from pero_worker.work import WorkerStatus

_STILL_AFTER_SECONDS = 60.0
"""A queue of which no page was done for so long stands still, unless its pages take longer."""
_STILL_AFTER_PAGES = 10
_STUCK_STATUSES = {
    WorkerStatus.CONFIGURATION_FAILED,
    WorkerStatus.MQ_CONNECTION_FAILED,
    WorkerStatus.PROCESSING_FAILED,
}

_CLOCKS_DIFFER_SECONDS = 60.0


def find_problems(look: Look, now: datetime) -> tuple[Problem, ...]:
    """The worst first."""
    of_all = (_servers(look), _clocks(look, now), _watchdog(look), _stages(look, now), _workers(look), _payloads(look))
    found = [*chain(*of_all), *_nonsense(look), *_letters(look)]
    return tuple(sorted(found, key=lambda problem: -problem.severity))


def _servers(look: Look) -> Iterator[Problem]:
    for name, reason in look.away:
        yield Problem(
            severity=Severity.CRITICAL,
            subject=name,
            text=f"does not answer: {reason}",
            remedy="start it, or correct its address; work goes on by itself when it is back",
        )
    for alarm in look.alarms:
        yield Problem(
            severity=Severity.CRITICAL,
            subject="RabbitMQ",
            text=f"it is {alarm} and takes no more pages: whoever publishes waits",
            remedy="make room on its disk" if "disk" in alarm else "give it memory, or let workers empty its queues",
        )


def _watchdog(look: Look) -> Iterator[Problem]:
    if not look.leader and look.stages:
        yield Problem(
            severity=Severity.WARNING,
            subject="watchdog",
            text="none leads: workers keep what they hold, and nobody serves what is new",
            remedy="pero-worker watchdog",
        )


def _stages(look: Look, now: datetime) -> Iterator[Problem]:
    there = [worker for worker in look.workers if not worker.dead]
    for stage in look.stages:
        subject = f"stage {stage.name}"
        waiting = stage.messages or 0
        if stage.messages is None and not any(name == "RabbitMQ" for name, _ in look.away):
            yield Problem(
                severity=Severity.WARNING,
                subject=subject,
                text="has no queue: nothing can be sent to it",
                remedy=f"pero-worker stage add {stage.name}",
            )
        if stage.trouble:
            yield Problem(
                severity=Severity.CRITICAL if not stage.workers else Severity.WARNING,
                subject=subject,
                text=f"cannot be loaded: {stage.trouble}",
                remedy=f"upload it again, or go back: pero-worker stage rollback {stage.name}",
                since=stage.trouble_since,
            )
        elif stage.disabled:
            if waiting:
                yield Problem(
                    severity=Severity.WARNING,
                    subject=subject,
                    text=f"is disabled, and {_pages(waiting)} for it",
                    remedy=f"pero-worker stage add {stage.name} --priority 0",
                )
        elif not there:
            if waiting:
                yield Problem(
                    severity=Severity.CRITICAL,
                    subject=subject,
                    text=f"not served: there is no worker, and {_pages(waiting)}",
                    remedy="pero-worker worker",
                    since=stage.waiting_since,
                )
        elif stage.needs and not any(stage.needs in worker.labels for worker in there):
            yield Problem(
                severity=Severity.CRITICAL if waiting else Severity.WARNING,
                subject=subject,
                text=f"not served: no worker has the label {stage.needs}",
                remedy=f"pero-worker worker --label {stage.needs}, or change what it needs: "
                f"pero-worker stage add {stage.name} --needs ''",
                since=stage.waiting_since,
            )
        elif waiting and (still := _still_since(stage, now)):
            yield Problem(
                severity=Severity.CRITICAL,
                subject=subject,
                text=f"stands still: {_pages(waiting)}, and none was done",
                remedy="look at its workers' logs; pero-worker watchdog --dry-run says what the watchdog thinks",
                since=still,
            )


def _clocks(look: Look, now: datetime) -> Iterator[Problem]:
    """What has happened in the future shows that somebody's clock is wrong."""
    moments = [moment for stage in look.stages for moment in (stage.last_page, stage.waiting_since) if moment]
    moments += [worker.since for worker in look.workers if worker.since]
    ahead = max(((moment - now).total_seconds() for moment in moments), default=0.0)
    if ahead > _CLOCKS_DIFFER_SECONDS:
        yield Problem(
            severity=Severity.WARNING,
            subject="clocks",
            text=f"this machine's is {ahead:.0f} s or more behind the servers', so ages are wrong, and what stands "
            "still is noticed late",
            remedy="set the clocks of all machines by NTP (timedatectl set-ntp true)",
        )


def _still_since(stage: StageState, now: datetime) -> datetime | None:
    """None: it moves, or has just begun."""
    known = [moment for moment in (stage.last_page, stage.waiting_since) if moment]
    if not known:
        return None
    last = max(known)
    allowed = max(_STILL_AFTER_SECONDS, _STILL_AFTER_PAGES * (stage.mean_seconds or 0.0))
    return last if (now - last).total_seconds() > allowed else None


def _workers(look: Look) -> Iterator[Problem]:
    for worker in look.workers:
        subject = f"worker {worker.name}"
        if worker.gone:
            yield Problem(
                severity=Severity.WARNING,
                subject=subject,
                text="is gone without a word: it was killed, or its machine is away",
                remedy=f"start it again, or forget it: pero-worker workers remove {worker.name}",
                since=worker.since,
            )
        elif not worker.dead and worker.status in _STUCK_STATUSES and worker.message:
            yield Problem(
                severity=Severity.WARNING,
                subject=subject,
                text=f"{worker.status}: {worker.message.splitlines()[0]}",
                remedy="it tries again by itself",
                since=worker.since,
            )


def _payloads(look: Look) -> Iterator[Problem]:
    names = {stage.name for stage in look.stages}
    for worker, stage in who_cannot_follow(look.payloads, look.workers):
        if stage in names:
            yield Problem(
                severity=Severity.WARNING,
                subject=f"worker {worker}",
                text=f"serves stage {stage}, whose messages hold references, and cannot follow them: its pages fail",
                remedy=f"stop it, or send whole messages there: pero-worker payloads set --inline {stage}",
            )


def _nonsense(look: Look) -> Iterator[Problem]:
    paths = [TREE.stage(stage.name, leaf) for stage in look.stages for leaf in stage.unreadable]
    paths += [TREE.worker(worker.name, leaf) for worker in look.workers for leaf in worker.unreadable]
    for path in paths:
        yield Problem(
            severity=Severity.WARNING,
            subject="ZooKeeper",
            text=f"what stands at {path} makes no sense and counts as unset",
            remedy="write it again (a stage's with pero-worker stage add), or remove that node",
        )


def _letters(look: Look) -> Iterator[Problem]:
    if look.dead_letters:
        number = look.dead_letters
        yield Problem(
            severity=Severity.WARNING,
            subject="pero.dead",
            text=f"{number} unusable message{'s' * (number != 1)}",
            remedy="pero-worker dead list",
        )


def _pages(number: int) -> str:
    return f"{number} page{'s wait' if number != 1 else ' waits'}"
