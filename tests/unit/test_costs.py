"""What pages take and cost: meters, the arithmetic, `pero-worker report`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pero_worker.cli.report import app
from pero_worker.errors import OutputError
from pero_worker.jobs.costs import Basis, Prices, Use, cost_of, use_of
from pero_worker.worker.energy import MachineMeter

REPORT = CliRunner()


class Machine:
    """Imitates the files in which Linux reports energy and time."""

    def __init__(self, folder: Path) -> None:
        self.powercap, self.stat, self.own = folder / "powercap", folder / "stat", 0.0
        self.zone("intel-rapl:0", "package-0", 1_000_000)
        self.zone("intel-rapl:0:0", "core", 10**12)  # Included in the package.
        self.zone("intel-rapl:0:1", "dram", 1_000_000)
        self.zone("intel-rapl:1", "psys", 10**12)  # Contains the package.
        self.tell(busy=100.0)

    def zone(self, name: str, kind: str, largest: int) -> None:
        (self.powercap / name).mkdir(parents=True)
        (self.powercap / name / "name").write_text(f"{kind}\n")
        (self.powercap / name / "max_energy_range_uj").write_text(f"{largest}\n")
        self.count(name, 0)

    def count(self, name: str, microjoules: int) -> None:
        (self.powercap / name / "energy_uj").write_text(f"{microjoules}\n")

    def tell(self, *, busy: float, idle: float = 1e6) -> None:
        self.stat.write_text(f"cpu  {round(busy * 100)} 0 0 {round(idle * 100)} 500 0 0 0 7 7\ncpu0 1 2 3\n")

    def meter(self, device: str = "cpu", **more: object) -> MachineMeter:
        return MachineMeter(
            device,
            powercap=self.powercap,
            stat=self.stat,
            own_seconds=lambda: self.own,
            **more,  # type: ignore[arg-type]
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_page_is_charged_with_its_part_of_what_the_processors_took(machine: Machine) -> None:
    meter = machine.meter()
    machine.count("intel-rapl:0", 900_000)
    begun = meter.begin()
    machine.count("intel-rapl:0", 300_000)  # The counter wraps around at a million.
    machine.count("intel-rapl:0:0", 10**9)
    machine.count("intel-rapl:0:1", 200_000)
    machine.count("intel-rapl:1", 10**9)
    machine.tell(busy=108.0, idle=2e6)
    machine.own = 2.0
    assert meter.joules_since(begun) == pytest.approx((0.4 + 0.2) * 2 / 8)


def test_a_process_that_did_nothing_took_nothing(machine: Machine) -> None:
    meter = machine.meter()
    begun = meter.begin()
    machine.count("intel-rapl:0", 500_000)
    assert meter.joules_since(begun) == 0.0


def _no_zones(machine: Machine) -> None:
    for file in machine.powercap.rglob("name"):
        file.write_text("core")


def _unreadable(machine: Machine) -> None:
    for file in machine.powercap.rglob("energy_uj"):
        file.unlink()


def _garbage(machine: Machine) -> None:
    machine.stat.write_text("cpu\n")


@pytest.mark.parametrize("break_it", [_no_zones, _unreadable, _garbage])
def test_what_cannot_be_measured_is_not_made_up(machine: Machine, break_it: Callable[[Machine], None]) -> None:
    break_it(machine)
    meter = machine.meter()
    begun = meter.begin()
    machine.own = 1.0
    assert meter.joules_since(begun) is None


def test_counters_that_go_away_meanwhile_measure_nothing(machine: Machine) -> None:
    meter = machine.meter()
    begun = meter.begin()
    _unreadable(machine)
    assert meter.joules_since(begun) is None


class Nvml(SimpleNamespace):
    """Imitates pynvml with two GPUs."""

    def __init__(self) -> None:
        super().__init__(counted={0: 5_000, 1: 70_000}, sharers=2, broken=False)

    def nvmlInit(self) -> None:
        return None

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return {0: 0, 1: 1}[index]

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        return {"GPU-b": 1}[name]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if self.broken:
            raise RuntimeError("GPU is lost")
        return int(self.counted[handle])

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[int]:
        return [1] * self.sharers


@pytest.mark.parametrize(
    ("device", "visible", "joules"),
    [("cuda:0", "", 1.0), ("cuda:1", "", 2.0), ("cuda:0", "1", 2.0), ("cuda:1", "0, GPU-b", 2.0), ("cuda", "", 1.0)],
)
def test_a_gpu_is_shared_evenly(machine: Machine, device: str, visible: str, joules: float) -> None:
    nvml = Nvml()
    meter = machine.meter(device, nvml=nvml, visible=visible)
    begun = meter.begin()
    nvml.counted = {0: 7_000, 1: 74_000}
    machine.count("intel-rapl:0", 500_000)
    machine.tell(busy=101.0)
    machine.own = 0.5
    assert meter.joules_since(begun) == pytest.approx(joules + 0.25)


def test_a_gpu_that_does_not_tell_leaves_all_unknown(machine: Machine) -> None:
    nvml = Nvml()
    for unknown in ("GPU-c", "7"):
        assert machine.meter("cuda:0", nvml=nvml, visible=unknown).begin() is None
    meter = machine.meter("cuda:0", nvml=nvml, visible="")
    begun = meter.begin()
    nvml.broken = True
    assert meter.joules_since(begun) is None
    assert machine.meter("cuda:0", nvml=nvml, visible="").begin() is None


KWH = 3_600_000.0


@pytest.mark.parametrize(
    ("use", "prices", "joules", "basis", "money"),
    [
        (use_of(10, KWH), Prices(per_kwh=0.3), KWH, Basis.MEASURED, 0.3),
        (use_of(10, KWH), Prices(per_kwh=0.3, watts=99), KWH, Basis.MEASURED, 0.3),
        (use_of(10, None), Prices(per_kwh=0.3), None, Basis.UNKNOWN, None),
        (use_of(10, None), Prices(per_kwh=0.3, watts=KWH), 10 * KWH, Basis.MODELLED, 3.0),
        (use_of(10, None), Prices(per_worker_second=0.01), None, Basis.UNKNOWN, 0.1),
        (use_of(10, None), Prices(per_worker_second=0.01, per_kwh=0.3), None, Basis.UNKNOWN, None),
        (use_of(10, KWH), Prices(per_worker_second=0.01, per_kwh=0.3), KWH, Basis.MEASURED, 0.4),
        (use_of(10, KWH), Prices(), KWH, Basis.MEASURED, None),
        (use_of(10, 5) + use_of(3, None), Prices(watts=2), 11.0, Basis.MIXED, None),
        (use_of(10, 5) + use_of(3, None), Prices(), None, Basis.UNKNOWN, None),
        (Use(), Prices(watts=2, per_kwh=1), None, Basis.UNKNOWN, None),
    ],
)
def test_costs(use: Use, prices: Prices, joules: float | None, basis: Basis, money: float | None) -> None:
    found = cost_of(use, prices)
    assert found.basis is basis
    assert found.joules == (None if joules is None else pytest.approx(joules))
    assert found.money == (None if money is None else pytest.approx(money))


page = st.tuples(st.floats(0.001, 1e4), st.none() | st.floats(0.001, 1e6))


@pytest.mark.hypothesis
@given(st.lists(page, min_size=1, max_size=20))
def test_pages_cost_together_what_they_cost_alone(found: list[tuple[float, float | None]]) -> None:
    prices = Prices(watts=7.0, per_kwh=0.3, per_worker_second=0.001)
    uses = [use_of(seconds, joules) for seconds, joules in found]
    total = cost_of(sum(uses[1:], uses[0]), prices)
    alone = [cost_of(use, prices) for use in uses]
    assert total.joules == pytest.approx(sum(one.joules or 0 for one in alone))
    assert total.money == pytest.approx(sum(one.money or 0 for one in alone))


def line(page: str, **changes: object) -> str:
    values = {
        "page": page,
        "source": "scan.jpg",
        "page_index": 0,
        "status": "done",
        "fingerprint": {"size": 1, "modified_ns": 1, "pipeline": "print-latin", "version": "v1", "dpi": 300},
        "finished": "2026-01-01",
        "worker_seconds": 2.0,
        **changes,
    }
    return json.dumps(values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [
        line("=a", energy_joules=30.0),
        line("b", status="failed", worker_seconds=4.0),
        line("old", worker_seconds=0.0, seconds={"total": 1.0}),
        line("film", status="skipped", worker_seconds=0.0),
    ]
    (tmp_path / "report.jsonl").write_text("".join(f"{one}\n" for one in lines))
    return tmp_path


def told(*words: object) -> str:
    done = REPORT.invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_report_says_how_each_figure_is_known(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(told(folder, "--cost", "--csv", "--by", "page", "--price-per-kwh", 3.6))))
    assert [(row["worker_seconds"], row["energy_joules"], row["energy_is"], row["cost"]) for row in rows] == [
        ("2.00", "30.0", "measured", "0.000030"),
        ("4.00", "", "unknown", ""),
        ("1.00", "", "unknown", ""),
        ("7.00", "", "unknown", ""),
    ]
    modelled = told(folder, "--cost", "--csv", "--watts", 10, "--price-per-kwh", 3.6, "--currency", "EUR")
    (total,) = csv.DictReader(io.StringIO(modelled))
    assert (total["pages"], total["failed"], total["energy_joules"]) == ("3", "1", "80.0")
    assert (total["energy_is"], total["cost"], total["currency"]) == ("measured and modelled", "0.000080", "EUR")
    by_engine = told(folder, "--cost", "--by", "engine").splitlines()
    assert by_engine[1].split() == ["print-latin", "v1", "3", "1", "7.00", "-", "unknown", "-", "-"]
    assert "--watts models it" in by_engine[-1]
    assert "energy" not in told(folder)


def test_names_are_no_formulas_in_a_spreadsheet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    first = next(csv.DictReader(io.StringIO(told(".", "--csv", "--by", "page"))))
    assert first["page"] == "'=a"


def test_a_folder_without_a_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot read the report"):
        told(tmp_path)
