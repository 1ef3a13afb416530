"""`pero-worker report`: sums up the outcome of the pages in result folders, and their cost."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pero_worker.cli.examples import examples
from pero_worker.cli.late import command_app
from pero_worker.cli.listing import print_list
from pero_worker.cli.prices import Currency, PricePerKwh, PricePerWorkerSecond, Watts, prices_of
from pero_worker.cli.say import say
from pero_worker.jobs.costs import Prices, Use, cost_of, use_of
from pero_worker.jobs.records import PageRecord, PageStatus, read_report

EPILOG = examples(
    "pero-worker report out/",
    "pero-worker report out/ --cost --price-per-kwh 0.30 --currency EUR",
    "pero-worker report box1/ box2/ --cost --watts 35 --by engine",
    "pero-worker report out/ --cost --by page --csv > costs.csv",
)
_NOT_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ReportBy(StrEnum):
    FOLDER = "folder"
    ENGINE = "engine"
    PAGE = "page"


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders with a report.jsonl.", metavar="FOLDER...")],
    cost: Annotated[bool, typer.Option("--cost", help="Show energy and money, and how each is known.")] = False,
    by: Annotated[ReportBy, typer.Option(help="What a row is.")] = ReportBy.FOLDER,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for spreadsheets.")] = False,
    watts: Watts = None,
    price_per_kwh: PricePerKwh = None,
    price_per_worker_second: PricePerWorkerSecond = None,
    currency: Currency = "",
) -> None:
    """Sum up the outcome of the pages in result folders, and their cost."""
    prices = prices_of(watts, price_per_kwh, price_per_worker_second, currency)
    rows = _rows(folders, by, prices, cost=cost)
    headings: tuple[str, ...] = (by.value, "pages", "failed", "worker_seconds")
    if cost:
        headings = (*headings, "energy_joules", "energy_is", "cost", "currency")
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(headings)
        writer.writerows(
            [_no_formula(str(row[0])), *("" if cell is None else cell for cell in row[1:])] for row in rows
        )
        return
    print_list(headings, rows, empty="there is no page in the reports")
    if cost and any(row[4] is None for row in rows):
        say("")
        say("Energy that nobody measured is left open; --watts models it: see `pero-worker report --help`.")


def _rows(folders: Sequence[Path], by: ReportBy, prices: Prices, *, cost: bool) -> list[tuple[object, ...]]:
    """Returns a row for each group, in the order of their first page, and a total if there are several."""
    uses: dict[str, Use] = {}
    total = Use()
    for folder in folders:
        name = _naming(folder, by)
        for record in _counted(read_report(folder)):
            use = use_of(seconds_of(record), record.energy_joules, failed=record.status is PageStatus.FAILED)
            uses[name(record)] = uses.get(name(record), Use()) + use
            total += use
    rows = [_row(name, use, prices, cost=cost) for name, use in uses.items()]
    if len(rows) > 1:
        rows.append(_row("total", total, prices, cost=cost))
    return rows


def _naming(folder: Path, by: ReportBy) -> Callable[[PageRecord], str]:
    if by is ReportBy.FOLDER:
        return lambda record: str(folder)
    if by is ReportBy.ENGINE:
        return lambda record: f"{record.fingerprint.pipeline} {record.fingerprint.version}".strip() or "?"
    return lambda record: str(folder / record.page)


def _counted(records: Iterable[PageRecord]) -> Iterable[PageRecord]:
    return (record for record in records if record.status not in {PageStatus.SKIPPED, PageStatus.CANCELLED})


def seconds_of(record: PageRecord) -> float:
    """Returns the seconds that workers spent on a page; earlier versions recorded only the successful attempt."""
    return record.worker_seconds or float(record.seconds.get("total", 0.0))


def _row(name: str, use: Use, prices: Prices, *, cost: bool) -> tuple[object, ...]:
    row = (name, use.pages, use.failed, f"{use.seconds:.2f}")
    if not cost:
        return row
    found = cost_of(use, prices)
    joules = None if found.joules is None else f"{found.joules:.1f}"
    money = None if found.money is None else f"{found.money:.6f}"
    return (*row, joules, found.basis.value, money, prices.currency if money else None)


def _no_formula(text: str) -> str:
    """Escapes a cell that spreadsheets would run as a formula."""
    return f"'{text}" if text.startswith(_NOT_A_FORMULA) else text


app = command_app("report", report, EPILOG)
