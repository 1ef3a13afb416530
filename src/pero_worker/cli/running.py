"""Runs a job in a terminal: progress, a summary, Ctrl-C, and the program's exit status."""

from __future__ import annotations

import sys

import typer

from pero_worker.cli.progress import Progress, print_summary
from pero_worker.clock import SystemClock
from pero_worker.errors import ExitCode
from pero_worker.jobs.job import JobRequest, run_job
from pero_worker.jobs.listener import Summary
from pero_worker.processes import Lifetime, OnSignal, leave


def run_in_terminal(request: JobRequest, *, quiet: bool) -> None:
    """Runs the job; ends the program if something failed. `quiet` shows neither progress nor a summary."""
    Lifetime(status=ExitCode.INTERRUPTED, on_signal=OnSignal.INTERRUPT).begin()
    with Progress(visible=not quiet and sys.stderr.isatty()) as progress:
        summary = run_job(request, progress, SystemClock())
    if not quiet:
        print_summary(summary, request.output)
    _leave(summary)


def _leave(summary: Summary) -> None:
    if summary.interrupted:
        # Not sys.exit: it would wait for a half-made PDF in a thread, and nothing of that is in place yet.
        leave(ExitCode.INTERRUPTED)
    unreadable = summary.discovery is not None and summary.discovery.unreadable.count
    if summary.failed or summary.cancelled or summary.documents_failed or unreadable:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)
