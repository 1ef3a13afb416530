"""What is wrong with a cluster, since when, and what to do about it. Pure, from one look at the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain

from pero_worker.cluster.payloads.followers import who_cannot_follow
from pero_worker.cluster.registry.workers import WorkerState
from pero_worker.cluster.state import Look, Problem, Severity, StageState
from pero_worker.messages import said
from pero_worker.wire.tree import TREE
from pero_worker.work import WorkerStatus

_STILL_AFTER_SECONDS = 60.0
"""A queue stands still if none of its pages was done within this time, which is extended if its pages take long."""
_STILL_AFTER_PAGES = 10
_STUCK_STATUSES = {
    WorkerStatus.CONFIGURATION_FAILED,
    WorkerStatus.MQ_CONNECTION_FAILED,
    WorkerStatus.PROCESSING_FAILED,
}
_NOT_READY = {WorkerStatus.CONFIGURATION_FAILED, WorkerStatus.CONFIGURING, WorkerStatus.MQ_CONNECTION_FAILED}
"""Statuses of a worker that failed and is trying again."""
_CLOCKS_DIFFER_SECONDS = 60.0


def find_problems(look: Look, now: datetime) -> tuple[Problem, ...]:
    """Returns all problems, the worst first."""
    of_all = (_servers(look), _clocks(look, now), _watchdog(look), _stages(look, now), _workers(look), _payloads(look))
    found = [*chain(*of_all), *_nonsense(look), *_letters(look)]
    return tuple(sorted(found, key=lambda problem: -problem.severity))


def _servers(look: Look) -> Iterator[Problem]:
    for name, reason in look.away:
        yield Problem(
            severity=Severity.CRITICAL,
            about=said("name", name=name),
            what=said("server_away", reason=reason),
        )
    alarms = " & ".join(look.alarms)
    raised = [kind for kind, word in (("low_on_disk", "disk"), ("low_on_memory", "memory")) if word in alarms]
    for kind in raised or ["blocked"] * bool(alarms):
        yield Problem(severity=Severity.CRITICAL, about=said("name", name="RabbitMQ"), what=said(kind, reason=alarms))


def _watchdog(look: Look) -> Iterator[Problem]:
    if not look.leader and look.stages:
        idle = any(not worker.dead for worker in look.workers)
        stand_still = idle and any(one.messages and not one.workers and not one.disabled for one in look.stages)
        yield Problem(
            severity=Severity.CRITICAL if stand_still else Severity.WARNING,
            about=said("watchdog"),
            what=said("no_watchdog"),
        )


def _stages(look: Look, now: datetime) -> Iterator[Problem]:
    there = [worker for worker in look.workers if not worker.dead]
    left = max((worker.since for worker in look.workers if worker.dead and worker.since), default=None)
    for stage in look.stages:
        subject = said("stage", name=stage.name)
        waiting = stage.messages or 0
        if stage.messages is None and not any(name == "RabbitMQ" for name, _ in look.away):
            yield Problem(
                severity=Severity.WARNING,
                about=subject,
                what=said("no_queue", stage=stage.name),
            )
        if stage.trouble:
            yield Problem(
                severity=Severity.CRITICAL if not stage.workers else Severity.WARNING,
                about=subject,
                what=said("not_loaded", reason=stage.trouble, stage=stage.name),
                since=stage.trouble_since,
            )
        elif stage.disabled:
            if waiting:
                yield Problem(
                    severity=Severity.WARNING,
                    about=subject,
                    what=said("disabled", waiting=said("pages_wait", n=waiting), stage=stage.name),
                )
        elif not there:
            if waiting:
                yield Problem(
                    severity=Severity.CRITICAL,
                    about=subject,
                    what=said("no_worker", waiting=said("pages_wait", n=waiting)),
                    since=stage.waiting_since or left,
                )
        elif stage.needs and not any(stage.needs in worker.labels for worker in there):
            yield Problem(
                severity=Severity.CRITICAL if waiting else Severity.WARNING,
                about=subject,
                what=said("no_label", label=stage.needs, stage=stage.name),
                since=stage.waiting_since,
            )
        elif waiting and (failing := _all_fail(stage, there)):
            since, reason = failing
            yield Problem(
                severity=Severity.CRITICAL,
                about=subject,
                what=said(
                    "not_ready", waiting=said("pages_wait", n=waiting), reason=reason.splitlines()[0], stage=stage.name
                ),
                since=since,
            )
        elif waiting and _nobody_has_loaded(stage, there):
            yield Problem(
                severity=Severity.CRITICAL,
                about=subject,
                what=said("not_held", waiting=said("pages_wait", n=waiting), stage=stage.name),
                since=stage.waiting_since or stage.last_page,
            )
        elif waiting and (still := _still_since(stage, now)):
            yield Problem(
                severity=Severity.CRITICAL,
                about=subject,
                what=said("stands_still", waiting=said("pages_wait", n=waiting)),
                since=still,
            )


def _all_fail(stage: StageState, there: Sequence[WorkerState]) -> tuple[datetime | None, str] | None:
    """Returns since when none of the stage's workers has been ready for pages, and the reason one of them gives. None
    if one of them is ready, or if the stage has no workers."""
    holders = [worker for worker in there if stage.name in worker.stages]
    failing = [worker.failing for worker in holders if worker.status in _NOT_READY and worker.failing[1]]
    if not holders or len(failing) < len(holders):
        return None
    moments = [since for since, _ in failing if since]
    return max(moments, default=None), failing[0][1]


def _nobody_has_loaded(stage: StageState, there: Sequence[WorkerState]) -> bool:
    """Returns whether workers were assigned the stage but are idle without having loaded it: its store is away, while
    their other stages are served."""
    holders = [worker for worker in there if stage.name in worker.stages]
    return bool(holders) and all(
        worker.status == WorkerStatus.IDLE
        and isinstance(held := worker.facts.get("stages"), list)
        and stage.name not in held
        for worker in holders
    )


def _clocks(look: Look, now: datetime) -> Iterator[Problem]:
    """Times in the future show that some machine's clock is wrong."""
    moments = [moment for stage in look.stages for moment in (stage.last_page, stage.waiting_since) if moment]
    moments += [worker.since for worker in look.workers if worker.since]
    ahead = max(((moment - now).total_seconds() for moment in moments), default=0.0)
    if ahead > _CLOCKS_DIFFER_SECONDS:
        yield Problem(
            severity=Severity.WARNING,
            about=said("clocks_of_all"),
            what=said("clocks", seconds=ahead),
        )


def _still_since(stage: StageState, now: datetime) -> datetime | None:
    """Returns since when the stage has stood still; None if it is moving or has only just started."""
    known = [moment for moment in (stage.last_page, stage.waiting_since) if moment]
    if not known:
        return None
    last = max(known)
    allowed = max(_STILL_AFTER_SECONDS, _STILL_AFTER_PAGES * (stage.mean_seconds or 0.0))
    return last if (now - last).total_seconds() > allowed else None


def _workers(look: Look) -> Iterator[Problem]:
    for worker in look.workers:
        subject = said("worker", name=worker.name)
        if worker.gone:
            yield Problem(
                severity=Severity.WARNING,
                about=subject,
                what=said("worker_gone", worker=worker.name),
                since=worker.since,
            )
        elif not worker.dead and worker.status in _STUCK_STATUSES and worker.message:
            yield Problem(
                severity=Severity.WARNING,
                about=subject,
                what=said("worker_stuck", status=worker.status, reason=worker.message.splitlines()[0]),
                since=worker.failing[0] or worker.since,
            )


def _payloads(look: Look) -> Iterator[Problem]:
    names = {stage.name for stage in look.stages}
    for worker, stage in who_cannot_follow(look.payloads, look.workers):
        if stage in names:
            yield Problem(
                severity=Severity.WARNING,
                about=said("worker", name=worker),
                what=said("cannot_follow", stage=stage),
            )


def _nonsense(look: Look) -> Iterator[Problem]:
    paths = [TREE.stage(stage.name, leaf) for stage in look.stages for leaf in stage.unreadable]
    paths += [TREE.worker(worker.name, leaf) for worker in look.workers for leaf in worker.unreadable]
    for path in paths:
        yield Problem(
            severity=Severity.WARNING,
            about=said("name", name="ZooKeeper"),
            what=said("nonsense", path=path),
        )


def _letters(look: Look) -> Iterator[Problem]:
    if look.dead_letters:
        yield Problem(
            severity=Severity.WARNING,
            about=said("name", name="pero.dead"),
            what=said("dead_letters", n=look.dead_letters),
        )
