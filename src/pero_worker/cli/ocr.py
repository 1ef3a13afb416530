"""`pero-worker ocr`: turns scans into text on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.late import command_app
from pero_worker.cli.textoptions import (
    BlankTextOption,
    CombineOption,
    LanguageOption,
    OutputOption,
    TextLinesOption,
    TextOption,
)
from pero_worker.errors import UsageError
from pero_worker.formats import TextLines, TextPolicy, formats_help
from pero_worker.inputs.bounds import DEFAULT_MAX_PAGES, DEFAULT_MAX_PIXELS
from pero_worker.work import Rotate

BOOKS = "IIIF and METS"
EPILOG = """
[bold]Examples[/bold]

  pero-worker ocr scans/ -o text/

  pero-worker ocr 'box7/**/*.tif' report.pdf -o out --formats text,pdf

  pero-worker ocr scans/ -o out --pipeline rapidocr --jobs 4

  pero-worker ocr scans/ -o out --pipeline my-model.tar.xz --trust --device cuda

  pero-worker ocr scans/ -o out --cluster zoo1.example.org --stages layout,ocr

  pero-worker ocr scans/ -o out --gateway https://ocr.example.org

  pero-worker ocr https://library.example.org/iiif/codex-7/manifest.json -o codex-7 --pages 1-20

  pero-worker ocr mets.xml -o out --mets-group OCR-D-IMG

Run the same command again and it resumes where it stopped. OUT/report.jsonl has a line for every page.

[bold]Exit status[/bold]  0 all done; 2 wrong usage; 3 some pages failed; 4 no input; 5 pipeline unusable;
6 server unreachable; 7 cannot write; 130 interrupted.
"""


def ocr(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, PDFs, folders (searched through) or patterns; IIIF and METS as files or addresses.",
            metavar="PATH...",
        ),
    ],
    output: OutputOption,
    pipeline: Annotated[
        str, typer.Option("-p", "--pipeline", help="A bundled pipeline, or a folder or archive with a config.ini.")
    ] = "print-latin",
    formats: Annotated[
        str, typer.Option("-f", "--formats", help=f"Comma-separated: {formats_help()}.")
    ] = "page,alto,text",
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Worker processes.", show_default="one per core or GPU")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dpi: Annotated[
        int,
        typer.Option(
            min=36, max=2400, help="Resolution for PDF pages that are not scans, and for PDFs made from images."
        ),
    ] = 300,
    max_megapixels: Annotated[
        int, typer.Option(min=1, help="Refuse larger pages before they are decoded.")
    ] = DEFAULT_MAX_PIXELS // 1_000_000,
    rotate: Annotated[
        Rotate,
        typer.Option(
            help="Turn pages whose text lies sideways or upside down (auto), or do not (off). With --cluster, its "
            "workers decide."
        ),
    ] = Rotate.AUTO,
    max_pages: Annotated[
        int, typer.Option(min=1, help="Refuse longer documents; pages of several documents alternate.")
    ] = DEFAULT_MAX_PAGES,
    text: TextOption = TextPolicy.REDO,
    language: LanguageOption = "",
    text_lines: TextLinesOption = TextLines.KEEP,
    combine: CombineOption = False,
    blank_text: BlankTextOption = "",
    time_limit: Annotated[
        float, typer.Option(min=0, help="Seconds that a page may take in a stage without TIME_LIMIT; 0: no limit.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.")] = False,
    cluster: Annotated[
        str,
        typer.Option(
            help="ZooKeeper of a cluster that does the work; login and TLS are those of PERO_WORKER_CONFIG.",
            metavar="HOST[:PORT]",
        ),
    ] = "",
    trust: Annotated[
        bool, typer.Option("--trust", help="Trust the archive that --pipeline names, now and later: it is a program.")
    ] = False,
    stages: Annotated[
        str, typer.Option(help="With --cluster: its stages in order, separated by commas.", metavar="NAMES")
    ] = "",
    gateway: Annotated[
        str,
        typer.Option(help="A gateway that does the work; its key is in PERO_WORKER_GATEWAY_KEY.", metavar="URL"),
    ] = "",
    engine: Annotated[str, typer.Option(help="With --gateway: the engine to use.", show_default="its default")] = "",
    pages: Annotated[
        str, typer.Option(help="Pages by number or id: 1-5,8,20- or PHYS_0003..PHYS_0007.", rich_help_panel=BOOKS)
    ] = "",
    mets_group: Annotated[
        str,
        typer.Option(
            help="Group of the pictures.", show_default="the best available", rich_help_panel=BOOKS, metavar="USE"
        ),
    ] = "",
    mets_layout: Annotated[
        str,
        typer.Option(
            help="For pipelines that only read text: group of the PAGE or ALTO that has the lines.",
            show_default="the last one entered",
            rich_help_panel=BOOKS,
            metavar="USE",
        ),
    ] = "",
    mets_root: Annotated[
        Path | None,
        typer.Option(
            help="Paths may lead to files below this folder.", show_default="that of the METS", rich_help_panel=BOOKS
        ),
    ] = None,
    follow_collections: Annotated[
        bool, typer.Option("--follow-collections", help="Read all manifests of a collection.", rich_help_panel=BOOKS)
    ] = False,
    iiif_size: Annotated[
        str, typer.Option(help="Size of pictures: max, pct:50, 2000, or !3000,3000.", rich_help_panel=BOOKS)
    ] = "max",
    iiif_tiles: Annotated[
        bool,
        typer.Option(
            "--iiif-tiles",
            help="Assemble pictures from tiles if a server only offers smaller ones.",
            rich_help_panel=BOOKS,
        ),
    ] = False,
    iiif_header: Annotated[
        list[str] | None,
        typer.Option(
            help="Header sent to the hosts you name, or to HOST: 'Authorization: Bearer abc', 'HOST=Name: value'.",
            rich_help_panel=BOOKS,
            metavar="HEADER",
        ),
    ] = None,
    iiif_cookies: Annotated[
        Path | None, typer.Option(help="Cookie file in Netscape's format.", rich_help_panel=BOOKS)
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private", help="Documents may refer to addresses in private networks.", rich_help_panel=BOOKS
        ),
    ] = False,
    fetch_rate: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Requests per second to one host.", rich_help_panel=BOOKS)
    ] = 4.0,
    max_megabytes: Annotated[
        int, typer.Option(min=1, help="Largest picture to fetch, in MB.", rich_help_panel=BOOKS)
    ] = 500,
) -> None:
    """Turn scans into PAGE XML, ALTO, text, hOCR, JSON and searchable PDF."""
    from pero_worker.cli.access import connection_to
    from pero_worker.cli.gateway_key import gateway_key
    from pero_worker.cli.running import run_in_terminal
    from pero_worker.client.gateway import GatewayClient
    from pero_worker.client.workforce import gateway_workforce
    from pero_worker.clock import SystemClock
    from pero_worker.cluster.pages.workforce import cluster_workforce
    from pero_worker.cluster.settings import cluster_access, split_servers
    from pero_worker.formats import parse_formats, parse_language
    from pero_worker.inputs.iiif.image import check_size
    from pero_worker.inputs.mets.pages import MetsOptions
    from pero_worker.inputs.opening import BookOptions
    from pero_worker.inputs.pictures import PictureOptions
    from pero_worker.inputs.web.addresses import AddressRules
    from pero_worker.inputs.web.fetch import FetchOptions
    from pero_worker.inputs.web.logins import parse_header
    from pero_worker.jobs.books import BookSettings, named_hosts
    from pero_worker.jobs.combine import check
    from pero_worker.jobs.job import JobRequest
    from pero_worker.jobs.options import RunOptions
    from pero_worker.local.machine import LocalSettings
    from pero_worker.local.workforce import local_workforce
    from pero_worker.models.trust import TrustedArchives, judge_by

    if cluster and gateway:
        raise UsageError("--cluster and --gateway are two ways to have the work done: choose one")
    if cluster:
        names = split_servers([stages])
        if not names:
            raise UsageError("--cluster needs --stages: which of its stages a page goes through, as layout,ocr")
        workforce = cluster_workforce(cluster_access(connection_to(cluster)), names, dpi=dpi)
    elif gateway:
        client = GatewayClient(gateway, gateway_key(None))
        workforce = gateway_workforce(client, SystemClock(), engine=engine, dpi=dpi)
    else:
        if stages:
            raise UsageError("--stages are those of a cluster: name it with --cluster, or leave them out")
        settings = LocalSettings(
            dpi=dpi,
            device=device,
            jobs=jobs,
            max_pixels=max_megapixels * 1_000_000,
            time_limit=time_limit,
            rotate=rotate is Rotate.AUTO,
        )
        workforce = local_workforce(pipeline, settings, judge_by(TrustedArchives(), word=trust))
    options = RunOptions(
        formats=parse_formats(formats),
        dpi=dpi,
        text=text,
        language=parse_language(language),
        blank_text=blank_text,
        text_lines=text_lines,
        combine=combine,
        max_pages=max_pages,
    )
    if combine:
        check(options.formats)
    books = BookSettings(
        reading=BookOptions(
            pages=pages,
            mets=MetsOptions(group=mets_group, layout_group=mets_layout, root=mets_root),
            follow_collections=follow_collections,
        ),
        pictures=PictureOptions(size=check_size(iiif_size), tiles=iiif_tiles, max_pixels=max_megapixels * 1_000_000),
        fetching=FetchOptions(
            rules=AddressRules(allow_private=allow_private, named=named_hosts(paths)),
            rate=fetch_rate,
            max_bytes=max_megabytes * 1_000_000,
            headers=tuple(parse_header(header) for header in iiif_header or ()),
            cookies=iiif_cookies,
        ),
    )
    request = JobRequest(paths=paths, output=output, options=options, workforce=workforce, books=books)
    run_in_terminal(request, quiet=quiet)


app = command_app("ocr", ocr, EPILOG)
