"""`pero-worker kitodo`: a script task of Kitodo.Production, with the options of ocrd_manager's scripts."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

import pero_worker
from pero_worker.cli.access import connection_to
from pero_worker.cli.late import command_app
from pero_worker.cli.say import say, warn
from pero_worker.clock import SystemClock
from pero_worker.cluster.pages.workforce import cluster_workforce
from pero_worker.cluster.settings import cluster_access, split_servers
from pero_worker.errors import ExitCode, UsageError
from pero_worker.inputs.mets.pages import MetsOptions
from pero_worker.inputs.opening import BookOptions
from pero_worker.inputs.web.addresses import AddressRules
from pero_worker.inputs.web.fetch import FetchOptions
from pero_worker.jobs.books import BookSettings
from pero_worker.jobs.job import JobRequest, OpenWorkforce, run_job
from pero_worker.jobs.kitodo import ResultFolder, check_folder, pictures_of, place_results
from pero_worker.jobs.listener import NullListener, Summary
from pero_worker.jobs.mets import MetsOutput, enter_results
from pero_worker.jobs.options import RunOptions
from pero_worker.local.machine import LocalSettings
from pero_worker.local.workforce import local_workforce
from pero_worker.models.pipelines import bundled_pipelines
from pero_worker.models.trust import TrustedArchives, judge_by
from pero_worker.names import counted
from pero_worker.processes import Lifetime, OnSignal, leave

EPILOG = """
[bold]Examples[/bold]

  pero-worker kitodo (processpath) --proc-id (processid) --img-subdir images/(processtitle)_media
  --ocr-subdir ocr/(processtitle)_alto

  pero-worker kitodo (processpath) --img-subdir images --ocr-subdir ocr/alto --text-subdir ocr/txt

  pero-worker kitodo (metaFile) --img-grp LOCAL --ocr-grp FULLTEXT --pages 1-20

Kitodo runs the line without a shell: no quotes, no pipes. Status 0 closes the task; any other leaves it open.
Nothing is written to stderr on success.

[bold]Exit status[/bold]  0 all done; 2 wrong usage; 3 some pages failed, and nothing was written; 4 no pictures;
5 pipeline unusable; 6 server unreachable; 7 cannot write.
"""
_SCRIPTS = frozenset({"", "latin", "fraktur", "latn", "latf", "antiqua"})
"""Scripts that the bundled pipelines read."""


def kitodo(
    target: Annotated[Path, typer.Argument(help="Folder of the process, or its METS.", metavar="DIRECTORY|METS")],
    img_subdir: Annotated[str, typer.Option(help="Folder of the pictures, below DIRECTORY.", metavar="DIR")] = "images",
    ocr_subdir: Annotated[str, typer.Option(help="Folder for ALTO, below DIRECTORY.", metavar="DIR")] = "ocr/alto",
    alto: Annotated[str, typer.Option(help="Version of ALTO: 4 or 2.")] = "4",
    page_subdir: Annotated[str, typer.Option(help="Folder for PAGE XML, below DIRECTORY.", metavar="DIR")] = "",
    text_subdir: Annotated[str, typer.Option(help="Folder for text, below DIRECTORY.", metavar="DIR")] = "",
    pdf_subdir: Annotated[str, typer.Option(help="Folder for a PDF per picture, below DIRECTORY.", metavar="DIR")] = "",
    img_grp: Annotated[str, typer.Option(help="METS: group of the pictures.", metavar="USE")] = "",
    ocr_grp: Annotated[str, typer.Option(help="METS: new group, for ALTO.", metavar="USE")] = "FULLTEXT",
    url_prefix: Annotated[str, typer.Option(help="METS: enter addresses that begin with this.")] = "",
    pages: Annotated[str, typer.Option(help="METS: numbers, ids and ranges of them.")] = "",
    mets_root: Annotated[Path | None, typer.Option(help="METS: paths may lead to files below this folder.")] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="METS: files may be fetched from private networks.")
    ] = False,
    proc_id: Annotated[str, typer.Option(help="Id of the process; shown in the message.")] = "",
    task_id: Annotated[str, typer.Option(help="Id of the task; shown in the message.")] = "",
    lang: Annotated[str, typer.Option(help="Accepted but not needed.")] = "",
    script: Annotated[str, typer.Option(help="Latin or Fraktur; others need a pipeline of your own.")] = "",
    pipeline: Annotated[str, typer.Option("-p", "--pipeline", help="As for pero-worker ocr.")] = "",
    workflow: Annotated[str, typer.Option(help="The same as --pipeline.")] = "",
    device: Annotated[str, typer.Option(help="As for pero-worker ocr.")] = "auto",
    jobs: Annotated[int | None, typer.Option("-j", "--jobs", min=1, help="As for pero-worker ocr.")] = None,
    cluster: Annotated[str, typer.Option(help="As for pero-worker ocr.", metavar="HOST[:PORT]")] = "",
    stages: Annotated[str, typer.Option(help="As for pero-worker ocr.", metavar="NAMES")] = "",
    work_dir: Annotated[
        Path | None, typer.Option(help="Folder for unfinished work.", show_default="this user's state")
    ] = None,
    no_validate: Annotated[bool, typer.Option("--no-validate", help="Accepted but not needed.")] = False,
    run_async: Annotated[bool, typer.Option("--async", help="Not supported: the exit status closes the task.")] = False,
) -> None:
    """Read the pictures of a process in Kitodo.Production; for the script of a task."""
    if run_async:
        raise UsageError("--async is not supported: let Kitodo wait for the command, whose status closes the task")
    wanted = pipeline or workflow or "print-latin"
    if script.strip().lower() not in _SCRIPTS and wanted in {known.name for known in bundled_pipelines()}:
        raise UsageError(f"--script {script}: no bundled pipeline reads it; name one of your own with --pipeline")
    workforce = _workforce(wanted, device, jobs, cluster, stages)
    Lifetime(status=ExitCode.INTERRUPTED, on_signal=OnSignal.INTERRUPT).begin()
    mark = hashlib.sha256(str(target.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    work = (work_dir or Path(platformdirs.user_state_dir("pero-worker")) / "kitodo") / mark
    who = ", ".join(f"{name} {value}" for name, value in (("process", proc_id), ("task", task_id)) if value)
    if target.is_file():
        pictures = MetsOptions(group=img_grp, root=mets_root)
        fetching = FetchOptions(rules=AddressRules(allow_private=allow_private))
        books = BookSettings(reading=BookOptions(pages=pages, mets=pictures), fetching=fetching)
        options = RunOptions(formats=("page",))
        _run(JobRequest(paths=[str(target)], output=work, options=options, workforce=workforce, books=books), who)
        output = MetsOutput(group="", alto_group=ocr_grp, url_prefix=url_prefix, overwrite=True, pictures=pictures)
        number = enter_results(work, target, output, SystemClock(), f"pero-worker {pero_worker.__version__}")
    else:
        folders = _folders(alto, ocr_subdir, page_subdir, text_subdir, pdf_subdir)
        paths = pictures_of(target, img_subdir)
        options = RunOptions(formats=tuple(folders))
        _run(JobRequest(paths=paths, output=work, options=options, workforce=workforce), who)
        number = place_results(work, target, folders)
    shutil.rmtree(work, ignore_errors=True)
    say(f"{counted(number, 'page')} read" + (f" ({who})" if who else ""))


def _workforce(pipeline: str, device: str, jobs: int | None, cluster: str, stages: str) -> OpenWorkforce:
    if cluster:
        names = split_servers([stages])
        if not names:
            raise UsageError("--cluster needs --stages: which of its stages a page goes through, as layout,ocr")
        return cluster_workforce(cluster_access(connection_to(cluster)), names, dpi=300)
    judge = judge_by(TrustedArchives(), word=False)
    return local_workforce(pipeline, LocalSettings(device=device, jobs=jobs), judge)


def _folders(alto: str, ocr: str, page: str, text: str, pdf: str) -> dict[str, ResultFolder]:
    if alto not in {"4", "2"}:
        raise UsageError(f"--alto {alto}: choose 4 or 2")
    given = {"alto" if alto == "4" else "alto2": ocr, "page": page, "text": text, "pdf": pdf}
    folders = {name: ResultFolder(format=name, folder=folder) for name, folder in given.items() if folder}
    parts = [check_folder(folder.folder) for name, folder in folders.items() if name != "text"]
    if not folders or len(set(parts)) != len(parts):
        raise UsageError("each kind of result needs a folder of its own: --ocr-subdir, --page-subdir, --text-subdir")
    return folders


def _run(request: JobRequest, who: str) -> Summary:
    """Runs the job. Nothing is put in place unless all pages are done: Kitodo would close the task."""
    summary = run_job(request, NullListener(), SystemClock())
    if summary.interrupted:
        leave(ExitCode.INTERRUPTED)
    if summary.failed or summary.documents_failed:
        for record in summary.failures:
            warn(f"{record.page}: {record.error}")
        for name, wanted, reason in summary.documents_failed:
            warn(f"{name}: no {wanted}: {reason}")
        warn(f"{counted(summary.failed, 'page')} failed" + (f" ({who})" if who else "") + "; nothing was written")
        raise typer.Exit(ExitCode.SOME_PAGES_FAILED)
    return summary


app = command_app("kitodo", kitodo, EPILOG)
