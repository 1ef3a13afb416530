"""What pages cost: seconds, energy and money, and how each figure is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_JOULES_PER_KWH = 3_600_000.0


class Basis(StrEnum):
    """How an energy figure is known."""

    MEASURED = "measured"
    """Meters of the workers' machines counted all of it."""
    MODELLED = "modelled"
    """Workers' seconds times the watts that an operator stated."""
    MIXED = "measured and modelled"
    UNKNOWN = "unknown"
    """It was not measured, at least not for all pages, and no watts were stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What an operator states; None where nothing is stated."""

    watts: float | None = None
    """Watts drawn by a busy worker, including its share of the machine: the model where nothing was measured."""
    per_kwh: float | None = None
    """Price of a kilowatt hour."""
    per_worker_second: float | None = None
    """Price of a worker's second: machines, rooms, people."""
    currency: str = ""
    """Name of the currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a number of pages used."""

    pages: int = 0
    """Pages, done and failed."""
    failed: int = 0
    """Pages that failed."""
    seconds: float = 0.0
    """Workers' seconds, including failed attempts."""
    joules: float = 0.0
    """Energy that was measured, in joules."""
    unmeasured_seconds: float = 0.0
    """Workers' seconds on pages whose energy was not measured."""

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
    """What the use costs; None where it is not known."""

    joules: float | None
    """Energy, in joules."""
    basis: Basis
    """How the joules are known, and the money too if energy has a price."""
    money: float | None
    """Cost in the currency of the prices."""


def use_of(seconds: float, joules: float | None, *, failed: bool = False) -> Use:
    """Returns the use of one page; `joules` is None if it was not measured. A page that took no time used nothing."""
    return Use(
        pages=1,
        failed=int(failed),
        seconds=seconds,
        joules=joules or 0.0,
        unmeasured_seconds=seconds if joules is None else 0.0,
    )


def cost_of(use: Use, prices: Prices) -> Expense:
    """Returns the cost of a use. Nothing is made up: what is not measured, modelled or priced is None."""
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
            return None  # Half the cost would look like all of it.
        parts.append(joules / _JOULES_PER_KWH * prices.per_kwh)
    if prices.per_worker_second is not None:
        parts.append(seconds * prices.per_worker_second)
    return sum(parts) if parts else None
