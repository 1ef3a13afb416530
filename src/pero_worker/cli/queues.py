"""`pero-worker queues`: how many pages wait where."""

from __future__ import annotations

from typing import Annotated

import typer

from pero_worker.cluster.access import open_farm
from pero_worker.cluster.settings import Given, cluster_access
from pero_worker.cluster.stages import stage_names
from pero_worker.wire.queues import DEAD_LETTERS, LOG_QUEUE


def queues(
    given: Given,
    names: Annotated[list[str] | None, typer.Argument(help="Also these.", metavar="QUEUE...")] = None,
) -> None:
    """Exact numbers of waiting pages, of the stages, the usual queues and those named."""
    with open_farm(cluster_access(given)) as farm:
        wanted = dict.fromkeys((*stage_names(farm.zookeeper), *(names or ("out",)), LOG_QUEUE, DEAD_LETTERS))
        for name in wanted:
            state = farm.broker.state(name)
            if state is None and name in (names or ()):
                typer.echo(f"{name:24} there is no such queue")
            if state is not None:
                typer.echo(f"{name:24} {state.messages:>8} waiting {state.consumers:>4} consumers")
