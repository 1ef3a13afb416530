"""A job in a terminal: progress, a summary, Ctrl-C, and the program's exit status."""

from __future__ import annotations

import os
import signal
import sys
import threading

import typer

from pero_worker.cli.progress import Progress, print_summary
from pero_worker.clock import SystemClock
from pero_worker.errors import ExitCode
from pero_worker.jobs.job import JobRequest, run_job
from pero_worker.jobs.run import Summary

_EXIT_TIMEOUT_SECONDS = 4.0
"""Seconds that leaving may take after Ctrl-C."""


def run_in_terminal(request: JobRequest, *, quiet: bool) -> None:
    """Does the job; ends the program when something failed. `quiet`: no progress and no summary."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    with Progress(visible=not quiet and sys.stderr.isatty()) as progress:
        summary = run_job(request, progress, SystemClock())
    if not quiet:
        print_summary(summary, request.output)
    _leave(summary)


def _leave(summary: Summary) -> None:
    if summary.interrupted:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: a half-made PDF in a thread would be waited for, and nothing of it is in place yet.
        os._exit(ExitCode.INTERRUPTED)
    if summary.failed or summary.documents_failed:
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)


def _interrupt(signum: int, frame: object) -> None:
    # A server that does not answer must not hold us up; nothing half-made is in place.
    last = threading.Timer(_EXIT_TIMEOUT_SECONDS, os._exit, (ExitCode.INTERRUPTED,))
    last.daemon = True
    last.start()
    raise KeyboardInterrupt
