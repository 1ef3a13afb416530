"""Options for the cost of energy and workers, the same for reports and for the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.errors import UsageError
from pero_worker.jobs.costs import Prices

_PANEL = "Costs"
Watts = Annotated[
    float | None,
    typer.Option(
        min=0,
        envvar="PERO_WORKER_WATTS",
        help="Power of a busy worker with its part of the machine, used where nothing was measured.",
        show_default="unknown",
        rich_help_panel=_PANEL,
    ),
]
PricePerKwh = Annotated[
    float | None,
    typer.Option(
        min=0,
        envvar="PERO_WORKER_PRICE_PER_KWH",
        help="Price of a kilowatt hour.",
        show_default="none",
        rich_help_panel=_PANEL,
    ),
]
PricePerWorkerSecond = Annotated[
    float | None,
    typer.Option(
        min=0,
        envvar="PERO_WORKER_PRICE_PER_WORKER_SECOND",
        help="Price of a second of a worker.",
        show_default="none",
        rich_help_panel=_PANEL,
    ),
]
Currency = Annotated[
    str, typer.Option(envvar="PERO_WORKER_CURRENCY", help="Name of the currency.", rich_help_panel=_PANEL)
]


def prices_of(watts: float | None, kwh: float | None, second: float | None, currency: str) -> Prices:
    """Returns the prices. Raises `UsageError` if the currency's name is unusable."""
    if len(currency) > 20 or not currency.isprintable():
        raise UsageError("--currency: write a name of up to 20 characters, as EUR")
    return Prices(watts=watts, per_kwh=kwh, per_worker_second=second, currency=currency)
