"""Pages on their way to workers: which ones wait, which gateway sent them, and what a dead gateway left behind."""

from __future__ import annotations

from collections.abc import Sequence, Set

from sqlalchemy import Connection, RowMapping, bindparam, delete, exists, func, insert, select, update

from pero_worker.gateway.states import Backend, PageState
from pero_worker.gateway.store.progress import mark_processing
from pero_worker.gateway.store.schema import engines, instances, keys, pages

_WAITS = (
    (pages.c.backend == Backend.FARM.value)
    & (pages.c.state == PageState.WAITING.value)
    & pages.c.engine.in_(bindparam("served", expanding=True))
    & pages.c.image_uploaded.is_(True)
)
_OWNERS = select(keys.c.id, keys.c.share).where(exists().where(_WAITS, pages.c.owner == keys.c.id))
_NEXT = (
    select(pages)
    .where(_WAITS, pages.c.owner == bindparam("owner"))
    .order_by(pages.c.priority.desc(), pages.c.due, pages.c.number)
    .limit(bindparam("at_most"))
    .with_for_update(skip_locked=True)
)
_CLAIM = update(pages).where(pages.c.id.in_(bindparam("which", expanding=True)))
_IN_HAND = update(pages).where(pages.c.id == bindparam("which"), pages.c.state == PageState.PROCESSING.value)


def engines_named(connection: Connection, names: Sequence[str]) -> Sequence[str]:
    """Returns the ids of all versions of our engines of these names; today's version processes their pages."""
    query = select(engines.c.id).where(engines.c.name.in_(names), engines.c.backend == Backend.FARM.value)
    return connection.execute(query).scalars().all()


def waiting_owners(connection: Connection, served: Sequence[str]) -> Sequence[tuple[str, float]]:
    """Returns the keys that have pages waiting for one of the engines `served`, with their shares."""
    return [(owner, share) for owner, share in connection.execute(_OWNERS, {"served": list(served)}).all()]


def claim_pages(
    connection: Connection, owner: str, served: Sequence[str], limit: int, instance: str, now: float
) -> Sequence[RowMapping]:
    """Claims an owner's next waiting pages for this gateway alone, most urgent first."""
    wanted = {"served": list(served), "owner": owner, "at_most": limit}
    rows = connection.execute(_NEXT, wanted).mappings().all()
    if rows:
        values = {"state": PageState.PROCESSING.value, "sent_by": instance, "sent": None, "changed": now}
        connection.execute(_CLAIM, {"which": [row["id"] for row in rows], **values})
        mark_processing(connection, sorted({row["job"] for row in rows}), now)
    return rows


def confirm_sent(connection: Connection, page: str, now: float) -> None:
    """Records that the carrier has the page safely: it need not be sent again if this gateway dies."""
    connection.execute(_IN_HAND, {"which": page, "sent": now})


def unsend(connection: Connection, page: str, now: float) -> None:
    """Returns a page that could not be sent to the queue."""
    values = {"state": PageState.WAITING.value, "sent_by": None, "sent": None, "changed": now}
    connection.execute(_IN_HAND, {"which": page, **values})


def take_back(connection: Connection, instance: str, known: Set[str], now: float) -> int:
    """Requeues pages that this gateway claimed but does not know of because something failed in between.

    Returns how many.
    """
    query = select(pages.c.id).where(
        pages.c.state == PageState.PROCESSING.value, pages.c.sent_by == instance, pages.c.sent.is_(None)
    )
    lost = [page for page in connection.execute(query).scalars() if page not in known]
    for page in lost:
        unsend(connection, page, now)
    return len(lost)


def beat(connection: Connection, instance: str, now: float) -> None:
    """Records that this gateway is alive."""
    changed = connection.execute(update(instances).where(instances.c.id == instance).values(seen=now)).rowcount
    if not changed:
        connection.execute(insert(instances).values(id=instance, seen=now))


def is_first(connection: Connection, instance: str) -> bool:
    """Returns whether this gateway is the one that does the tasks meant for a single gateway."""
    return connection.execute(select(func.min(instances.c.id))).scalar() == instance


def take_over(connection: Connection, alive_since: float, *, carried: bool, now: float) -> int:
    """Requeues pages of gateways that were last heard of before `alive_since`, and returns how many.

    `carried`: pages that were sent are safe with a broker, so only those not confirmed as sent are requeued.
    """
    connection.execute(delete(instances).where(instances.c.seen < alive_since))
    alive = select(instances.c.id)
    orphaned = (
        (pages.c.state == PageState.PROCESSING.value)
        & (pages.c.backend == Backend.FARM.value)
        & pages.c.sent_by.not_in(alive)
    )
    if carried:
        orphaned &= pages.c.sent.is_(None)
    change = update(pages).where(orphaned)
    values = {"state": PageState.WAITING.value, "sent_by": None, "sent": None, "changed": now}
    return int(connection.execute(change.values(values)).rowcount)


def send_again(connection: Connection, sent_before: float, now: float, *, blamed: bool) -> Sequence[RowMapping]:
    """Requeues pages that went to the cluster before `sent_before` and never came back.

    Returns their `id`, `job` and `sends`: how often a page was lost when it may have been to blame (`blamed`: it may be
    to blame this time).
    """
    change = (
        update(pages)
        .where(pages.c.state == PageState.PROCESSING.value, pages.c.sent < sent_before)
        .values(
            state=PageState.WAITING.value,
            sent_by=None,
            sent=None,
            changed=now,
            sends=pages.c.sends + int(blamed),
        )
        .returning(pages.c.id, pages.c.job, pages.c.sends)
    )
    return connection.execute(change).mappings().all()


def retire(connection: Connection, instance: str) -> None:
    """Removes this gateway, which is shutting down."""
    connection.execute(delete(instances).where(instances.c.id == instance))


def still_open(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Returns which of these pages are still to be processed by whoever holds them."""
    query = select(pages.c.id).where(pages.c.id.in_(ids), pages.c.state == PageState.PROCESSING.value)
    return set(connection.execute(query).scalars())
