"""What pages cost: seconds, energy and money, and how each figure is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_JOULES_PER_KWH = 3_600_000.0


class Basis(StrEnum):
    """How energy is known."""

    MEASURED = "measured"
    """Meters of the workers' machines counted all of it."""
    MODELLED = "modelled"
    """Workers' seconds times the watts that an operator stated."""
    MIXED = "measured and modelled"
    UNKNOWN = "unknown"
    """It was not measured, at least not for all pages, and nobody stated watts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What an operator states; None: nothing."""

    watts: float | None = None
    """Drawn by a busy worker, with its part of the machine: the model where nothing was measured."""
    per_kwh: float | None = None
    """Money for a kilowatt hour."""
    per_worker_second: float | None = None
    """Money for a second of a worker: machines, rooms, people."""
    currency: str = ""
    """What the money is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What some pages took."""

    pages: int = 0
    """Done and failed."""
    failed: int = 0
    """Of the pages."""
    seconds: float = 0.0
    """Of workers, failed attempts as well."""
    joules: float = 0.0
    """What was measured."""
    unmeasured_seconds: float = 0.0
    """Of pages whose energy nobody measured."""

    def __add__(self, other: Use) -> Use:
        return Use(
            pages=self.pages + other.pages,
            failed=self.failed + other.failed,
            seconds=self.seconds + other.seconds,
            joules=self.joules + other.joules,
            unmeasured_seconds=self.unmeasured_seconds + other.unmeasured_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense:
    """What it comes to; None: it is not known."""

    joules: float | None
    """Energy."""
    basis: Basis
    """Of the joules; and of the money, if energy has a price."""
    money: float | None
    """In the currency of the prices."""


def use_of(seconds: float, joules: float | None, *, failed: bool = False) -> Use:
    """Of one page; `joules` None: nobody measured it. What took no time took nothing."""
    return Use(
        pages=1,
        failed=int(failed),
        seconds=seconds,
        joules=joules or 0.0,
        unmeasured_seconds=seconds if joules is None else 0.0,
    )


def cost_of(use: Use, prices: Prices) -> Expense:
    """Nothing is made up: what is not measured, modelled or priced is None."""
    joules, basis = _energy(use, prices.watts)
    return Expense(joules=joules, basis=basis, money=_money(use.seconds, joules, prices))


def _energy(use: Use, watts: float | None) -> tuple[float | None, Basis]:
    if use.unmeasured_seconds <= 0:
        return (use.joules, Basis.MEASURED) if use.joules > 0 else (None, Basis.UNKNOWN)
    if watts is None:
        return None, Basis.UNKNOWN
    basis = Basis.MIXED if use.joules > 0 else Basis.MODELLED
    return use.joules + watts * use.unmeasured_seconds, basis


def _money(seconds: float, joules: float | None, prices: Prices) -> float | None:
    parts = []
    if prices.per_kwh is not None:
        if joules is None:
            return None  # Half the costs would look like all of them.
        parts.append(joules / _JOULES_PER_KWH * prices.per_kwh)
    if prices.per_worker_second is not None:
        parts.append(seconds * prices.per_worker_second)
    return sum(parts) if parts else None
