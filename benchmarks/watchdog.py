"""`make bench-watchdog`: our policy, upstream's rule and the best fixed split on a simulated cluster (no servers).

Prints Markdown. The same seeds give the same figures, except for decision times. `watchdog.py batch flip` runs only
these parts.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pero_worker.stage import Cost, Sharing
from pero_worker.watchdog.baselines import FixedSplit, UpstreamRule, splits
from pero_worker.watchdog.policy import PlanRule, plan
from pero_worker.watchdog.scenario import Scenario, SimulationResult, StageModel, WorkerModel
from pero_worker.watchdog.simulate import Simulation
from pero_worker.watchdog.snapshot import Rule, Snapshot, StageView, WorkerView

PAGES = 2000
BOUND = 1200.0
"""Minimum seconds that a batch takes: its work shared by all workers."""
LOADS = (1.0, 5.0, 30.0, 90.0)
SEEDS = range(3)
GOALS = {1.0: "-", 5.0: "2 %", 30.0: "7 %", 90.0: "20 %"}
SHAPES = (
    ((0.6, 1.4, 2.8), 8),
    ((2.0, 1.0, 2.0), 8),
    ((0.3, 3.0, 1.5), 8),
    ((1.0, 1.0, 1.0), 4),
    ((0.7, 2.3, 1.1), 5),
    ((0.5, 4.0, 1.5), 12),
)
"""Stage times of a batch, and its number of workers."""
HALVES = {"a0": 1, "a1": 3, "b0": 2, "b1": 2}
MIXED_BOUND = 885.0
"""Minimum seconds of `mixed`: layout and 461 pages of OCR without a GPU (6 x 885 s), the rest with one (4 x 885 s)."""
WARM_UP = 1800.0
"""Seconds at the start of steady traffic that are left out for every rule, until the backlog from loading the first
models is gone."""

Path = tuple[str, ...]
Pages = list[tuple[float, Path]]


# -- clusters -------------------------------------------------------------------------------------------------------


def chain(seconds: Iterable[float], load: float, prefix: str = "s") -> list[StageModel]:
    return [StageModel(name=f"{prefix}{number}", seconds=each, load=load) for number, each in enumerate(seconds)]


def path(stages: Iterable[StageModel]) -> Path:
    return tuple(stage.name for stage in stages)


def team(count: int, memory: int | None = None) -> list[WorkerModel]:
    return [WorkerModel(name=f"w{number:02}", memory=memory) for number in range(count)]


def batch(shape: Sequence[float], workers: int, load: float) -> Scenario:
    scale = BOUND * workers / PAGES / sum(shape)
    stages = chain((part * scale for part in shape), load)
    return Scenario(stages=stages, workers=team(workers), pages=[(0.0, path(stages))] * PAGES, known=True)


def stream(rate: float, start: float, end: float, way: Path, chance: random.Random) -> Iterator[tuple[float, Path]]:
    now = start
    while (now := now + chance.expovariate(rate)) < end:
        yield now, way


def steady(shape: Sequence[float], offered: float, load: float, *, hours: float = 2, seed: int = 5) -> Scenario:
    stages, workers = chain(shape, load), team(8)
    rate = offered * len(workers) / sum(shape)
    pages = list(stream(rate, 0, 3600 * hours, path(stages), random.Random(seed)))
    return Scenario(stages=stages, workers=workers, pages=pages, known=True)


def two_jobs(load: float) -> tuple[list[StageModel], list[StageModel]]:
    return chain((1.0, 2.5), load, "a"), chain((2.0, 1.5), load, "b")


def flipping(seed: int, hours: int = 4) -> Scenario:
    """60 % load from two jobs that alternate every hour, 30 s loads."""
    chance = random.Random(seed)
    jobs = two_jobs(30)
    pages: Pages = []
    for hour in range(hours):
        pages += stream(0.6 * 8 / 3.5, 3600 * hour, 3600 * (hour + 1), path(jobs[hour % 2]), chance)
    return Scenario(stages=[*jobs[0], *jobs[1]], workers=team(8), pages=pages, known=True)


def bursty(seed: int) -> Scenario:
    """60 % load in bursts of 1 to 600 pages for one of two jobs, at random times in four hours, 30 s loads."""
    chance = random.Random(seed)
    jobs = two_jobs(30)
    pages: Pages = []
    while len(pages) * 3.5 < 0.6 * 8 * 4 * 3600:
        when, way = chance.uniform(0, 4 * 3600), path(jobs[chance.randrange(2)])
        pages += [(when, way)] * chance.choice((1, 10, 100, 600))
    return Scenario(stages=[*jobs[0], *jobs[1]], workers=team(8), pages=sorted(pages), known=True)


def mixed(seed: int) -> Scenario:
    """Four workers with a GPU, on which OCR is five times as fast, and six without; one stage needs the GPU."""
    stages = [
        StageModel(name="layout", seconds=1.5, load=30),
        StageModel(name="ocr", seconds=5.0, load=30),
        StageModel(name="decode", seconds=1.0, load=30, sharing=Sharing(needs="gpu")),
    ]
    workers = [
        *(
            WorkerModel(name=f"g{n}", kind="gpu", speeds={"layout": 2.0, "ocr": 5.0}, labels=frozenset(("gpu",)))
            for n in range(4)
        ),
        *(WorkerModel(name=f"c{n}") for n in range(6)),
    ]
    return Scenario(stages=stages, workers=workers, pages=[(0.0, path(stages))] * PAGES, known=True)


def crowded(seed: int) -> Scenario:
    """Two workers, six stages with 20 s loads, pages of three jobs for 40 minutes."""
    chance = random.Random(seed)
    stages = [StageModel(name=f"s{n}", seconds=chance.uniform(0.5, 3.0), load=20) for n in range(6)]
    pages: Pages = []
    for pair in (stages[0:2], stages[2:4], stages[4:6]):
        rate = 2 * chance.uniform(0.05, 0.2) / sum(stage.seconds for stage in pair)
        pages += stream(rate, 0, 2400, path(pair), chance)
    return Scenario(stages=stages, workers=team(2), pages=sorted(pages), known=True, until=2 * 3600)


# -- runs --------------------------------------------------------------------------------------------------------


def run(scenario: Scenario, rule: Rule, seed: int = 1) -> SimulationResult:
    return Simulation(scenario, rule, seed=seed).run()


def bound(scenario: Scenario, outcome: SimulationResult) -> float:
    """Returns the seconds that no rule can beat: the work that was done, shared by all workers."""
    return outcome.work / len(scenario.workers)


def over(scenario: Scenario, outcome: SimulationResult) -> float:
    return outcome.makespan / bound(scenario, outcome) - 1


def per_stage(scenario: Scenario) -> dict[str, float]:
    """Returns the seconds of work for all pages, by stage."""
    work = dict.fromkeys((stage.name for stage in scenario.stages), 0.0)
    seconds = {stage.name: stage.seconds for stage in scenario.stages}
    for _, way in scenario.pages:
        for name in way:
            work[name] += seconds[name]
    return work


def best_split_of_batch(scenario: Scenario, seeds: Iterable[int]) -> list[SimulationResult]:
    """Returns the results of the split with the shortest makespan. Splits whose slowest stage alone takes longer than
    that are left out."""
    work = per_stage(scenario)
    slowest = {
        tuple(split.items()): max(work[name] / count for name, count in split.items())
        for split in splits(list(work), len(scenario.workers))
    }
    best: tuple[float, tuple[tuple[str, int], ...]] = (float("inf"), ())
    for split, least in sorted(slowest.items(), key=lambda item: item[1]):
        if least > best[0]:
            break
        best = min(best, (run(scenario, FixedSplit(dict(split))).makespan, split))
    return [run(scenario, FixedSplit(dict(best[1])), seed) for seed in seeds]


def best_split_of_stream(scenario: Scenario) -> dict[str, int] | None:
    """Returns the split with the lowest mean latency: those that keep up are tried on part of the time, the best three
    on all of it. None if no split keeps up."""
    work, span = per_stage(scenario), scenario.pages[-1][0]
    able = [s for s in splits(list(work), len(scenario.workers)) if all(work[n] / c < span for n, c in s.items())]

    def mean(split: dict[str, int], end: float) -> float:
        pages = [page for page in scenario.pages if page[0] < end]
        return run(replace(scenario, pages=pages), FixedSplit(split)).after(WARM_UP).mean

    if len(able) > 3:
        able = sorted(able, key=lambda split: mean(split, 1.5 * WARM_UP))[:3]
    return min(able, key=lambda split: mean(split, span), default=None) if len(able) > 1 else next(iter(able), None)


# -- tables ------------------------------------------------------------------------------------------------------


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def percent(part: float, digits: int = 1) -> str:
    return f"{100 * part:.{digits}f} %"


@dataclass
class Tally:
    """Outcomes of one rule over shapes and seeds."""

    outcomes: list[SimulationResult]
    over: list[float]

    @classmethod
    def of(cls, runs: Sequence[tuple[Scenario, SimulationResult]]) -> Tally:
        return cls([outcome for _, outcome in runs], [over(scenario, outcome) for scenario, outcome in runs])

    def cells(self) -> list[str]:
        def mean(of: Callable[[SimulationResult], float]) -> float:
            return statistics.fmean(of(outcome) for outcome in self.outcomes)

        return [
            percent(statistics.fmean(self.over)),
            percent(max(self.over)),
            f"{mean(lambda o: o.mean):.0f}",
            f"{mean(lambda o: o.percentile(0.95)):.0f}",
            percent(mean(lambda o: o.loading)),
            f"{mean(lambda o: o.moves):.0f}",
        ]


def show_batch() -> None:
    worst: dict[float, tuple[float, str]] = {}

    def rows() -> Iterator[list[object]]:
        for load in LOADS:
            found: dict[str, list[tuple[Scenario, SimulationResult]]] = {}
            for shape, workers in SHAPES:
                scenario = batch(shape, workers, load)
                cold = replace(scenario, known=False)
                ours = [(scenario, run(scenario, PlanRule(), seed)) for seed in SEEDS]
                found.setdefault("ours", []).extend(ours)
                found.setdefault("ours, cold start", []).extend((cold, run(cold, PlanRule(), seed)) for seed in SEEDS)
                found.setdefault("upstream's rule", []).extend(
                    (scenario, run(scenario, UpstreamRule(), seed)) for seed in SEEDS
                )
                found.setdefault("best fixed split", []).extend(
                    (scenario, outcome) for outcome in best_split_of_batch(scenario, SEEDS)
                )
                mean = statistics.fmean(over(scenario, outcome) for _, outcome in ours)
                worst[load] = max(worst.get(load, (0.0, "")), (mean, f"{shape} x {workers}"))
            for rule, runs in found.items():
                yield [f"{load:.0f}", rule, *Tally.of(runs).cells(), GOALS[load] if rule == "ours" else ""]

    table(
        f"A batch: {PAGES} pages, three stages, lower bound {BOUND:.0f} s; {len(SHAPES)} shapes, {len(SEEDS)} seeds",
        ("load s", "rule", "makespan over bound", "worst", "mean latency s", "p95 s", "loading", "moves", "goal"),
        rows(),
    )
    print("\nWorst shape of ours, mean of its seeds (stage times x workers):")
    print("; ".join(f"{load:.0f} s: {percent(part)} at {shape}" for load, (part, shape) in worst.items()) + ".")


def show_steady() -> None:
    def rows() -> Iterator[list[object]]:
        for shape, _ in SHAPES[:3]:
            for offered in (0.5, 0.7, 0.85, 0.9):
                split = best_split_of_stream(steady(shape, offered, 30))
                for load in (5.0, 30.0, 90.0):
                    scenario = steady(shape, offered, load)
                    ours = run(scenario, PlanRule()).after(WARM_UP)
                    fixed = run(scenario, FixedSplit(split)).after(WARM_UP) if split else None
                    middle, end = ours.unfinished(3600), ours.unfinished(7199)
                    yield [
                        f"{shape}",
                        percent(offered, 0),
                        f"{load:.0f}",
                        f"{ours.mean:.1f}",
                        f"{fixed.mean:.1f}" if fixed else "none keeps up",
                        f"{100 * (ours.mean / fixed.mean - 1):+.0f} %" if fixed else "",
                        f"{ours.percentile(0.95):.1f}",
                        f"{fixed.percentile(0.95):.1f}" if fixed else "",
                        percent(ours.loading),
                        ours.moves,
                        f"{middle} / {end}",
                    ]

    table(
        "Steady traffic: 8 workers, two hours, pages of the first half hour left out for all alike",
        (
            "stage times s",
            "offered",
            "load s",
            "mean latency s",
            "best fixed split",
            "beside it (goal +10 %)",
            "p95 s",
            "its p95",
            "loading",
            "moves",
            "unfinished after 1 h / 2 h",
        ),
        rows(),
    )


def show_hours() -> None:
    """Runs the shape that no fixed split keeps up with for longer."""
    shape, hours = SHAPES[2][0], 6

    def rows() -> Iterator[list[object]]:
        for rule, offered, load in (
            (PlanRule, 0.9, 30.0),
            (PlanRule, 0.9, 90.0),
            (UpstreamRule, 0.6, 30.0),
            (UpstreamRule, 0.6, 90.0),
        ):
            scenario = replace(steady(shape, offered, load, hours=hours), until=3600.0 * hours)
            outcome = run(scenario, rule())
            came = [sum(page[0] < 3600 * hour for page in scenario.pages) for hour in range(1, hours + 1)]
            out = [sum(page.out < 3600 * hour for page in outcome.pages) for hour in range(1, hours + 1)]
            name = "ours" if rule is PlanRule else "upstream's rule"
            yield [name, percent(offered, 0), f"{load:.0f}", *(a - b for a, b in zip(came, out, strict=True))]

    head = ("rule", "offered", "load s", *(f"{hour} h" for hour in range(1, hours + 1)))
    table(f"Pages that are not out yet, hour by hour: steady traffic, 8 workers, stage times {shape}", head, rows())


def show_flip() -> None:
    def with_memory(scenarios: list[Scenario]) -> list[Scenario]:
        return [replace(scenario, workers=team(8, memory=4)) for scenario in scenarios]

    def rows() -> Iterator[list[object]]:
        for name, scenarios in (
            ("hourly flips", [flipping(seed) for seed in (5, 6)]),
            ("bursts", [bursty(seed) for seed in (5, 6, 7)]),
        ):
            found = {
                "ours": [run(scenario, PlanRule()) for scenario in scenarios],
                "ours, memory for four stages": [run(scenario, PlanRule()) for scenario in with_memory(scenarios)],
                "upstream's rule": [run(scenario, UpstreamRule()) for scenario in scenarios],
                "fixed split in halves": [run(scenario, FixedSplit(HALVES)) for scenario in scenarios],
            }
            ours = statistics.fmean(outcome.mean for outcome in found["ours"])
            for rule, outcomes in found.items():
                mean = statistics.fmean(outcome.mean for outcome in outcomes)
                yield [
                    name,
                    rule,
                    f"{mean:.1f}",
                    f"{mean / ours:.1f} x",
                    f"{statistics.fmean(outcome.percentile(0.95) for outcome in outcomes):.0f}",
                    percent(statistics.fmean(outcome.loading for outcome in outcomes)),
                    round(statistics.fmean(outcome.moves for outcome in outcomes)),
                ]

    head = ("traffic", "rule", "mean latency s", "beside ours", "p95 s", "loading", "moves")
    table("Shifting traffic: 8 workers, two jobs of two stages, 60 % load, 30 s loads", head, rows())


def show_odd() -> None:
    shape, workers = SHAPES[0]
    clusters: Mapping[str, Callable[[int], Scenario]] = {
        "10 workers of two kinds, 30 s loads": mixed,
        "a worker dies every 225 s, back after 60 s, 30 s loads": lambda seed: replace(
            batch(shape, workers, 30), failures=1800.0
        ),
        "300 s loads": lambda seed: batch(shape, workers, 300),
        "one worker, three stages, 30 s loads": lambda seed: batch(shape, 1, 30),
    }

    def rows() -> Iterator[list[object]]:
        for name, cluster in clusters.items():
            for title, rule in (("ours", PlanRule), ("upstream's rule", UpstreamRule)):
                runs = [run(cluster(seed), rule(), seed) for seed in SEEDS]
                yield [
                    name,
                    title,
                    f"{statistics.fmean(o.makespan for o in runs):.0f}",
                    f"{MIXED_BOUND if cluster is mixed else bound(cluster(0), runs[0]):.0f}",
                    f"{statistics.fmean(o.mean for o in runs):.0f}",
                    percent(statistics.fmean(o.loading for o in runs)),
                    round(statistics.fmean(o.moves for o in runs)),
                ]

    head = ("batch of 2000 pages", "rule", "makespan s", "bound s", "mean latency s", "loading", "moves")
    table("Other clusters", head, rows())


def show_crowded() -> None:
    def rows() -> Iterator[list[object]]:
        for title, rule in (("ours", PlanRule), ("upstream's rule", UpstreamRule)):
            runs = [run(crowded(seed), rule(), seed) for seed in range(30)]
            yield [
                title,
                f"{statistics.fmean(o.mean for o in runs):.0f}",
                f"{max(o.max_wait for o in runs):.0f}",
                sum(o.left for o in runs),
                percent(statistics.fmean(o.loading for o in runs)),
            ]

    head = ("rule", "mean latency s", "longest wait of a page in one queue s", "pages left after 2 h", "loading")
    table("Nobody starves: 2 workers, 6 stages, 20 s loads, 15 to 60 % load, 30 seeds", head, rows())


def show_shares() -> None:
    """One owner's 3000 pages are waiting when another's 600 arrive after 300 s."""
    ways: list[Path] = [("a",), ("b",)]
    pages = [(0.0, ways[0])] * 3000 + [(300.0, ways[1])] * 600

    def rows() -> Iterator[list[object]]:
        for share in (1.0, 3.0):
            stages = [
                StageModel(name="a", seconds=1, load=5, sharing=Sharing(owner="A")),
                StageModel(name="b", seconds=1, load=5, sharing=Sharing(owner="B", share=share)),
            ]
            outcome = run(Scenario(stages=stages, workers=team(8), pages=pages, known=True), PlanRule())
            ends = max(page.out for page in outcome.pages if page.path == ways[1])
            both = [page.path for page in outcome.pages if 300 < page.out <= ends]
            part = both.count(ways[1]) / len(both)
            yield [f"1 : {share:.0f}", percent(share / (1 + share), 0), percent(part, 0), f"{ends - 300:.0f}"]

    table(
        "Shares: 8 workers, pages of 1 s; B's 600 pages come while A's 3000 are worked on",
        ("shares A : B", "B is due", "worker-seconds B got until done", "B done after s"),
        rows(),
    )


def big_cluster(workers: int, stages: int, *, fresh: bool) -> Snapshot:
    """Returns a snapshot of chains of four stages, all with pages; a fifth of the workers are idle, or all of them when
    `fresh`."""
    chance = random.Random(1)
    views = [
        StageView(
            name=f"s{n}",
            waiting=chance.randrange(2000),
            costs={"cpu": Cost(seconds=chance.uniform(0.2, 5), load_seconds=chance.uniform(5, 60), memory=1)},
            arrivals=chance.random(),
            onward={f"s{n + 1}": 1.0} if n % 4 != 3 else {},
            unserved=chance.choice((0.0, 0.0, 100.0)),
        )
        for n in range(stages)
    ]
    hands = [
        WorkerView(
            name=f"w{n:05}",
            holds=() if fresh else (f"s{chance.randrange(stages)}",),
            busy=chance.random() < 0.8 and not fresh,
            serving=chance.uniform(0, 2000),
        )
        for n in range(workers)
    ]
    return Snapshot(stages=tuple(views), workers=tuple(hands))


def show_decisions() -> None:
    def rows() -> Iterator[list[object]]:
        for workers, stages, goal in ((1000, 200, 100), (10_000, 1000, 1000)):
            for fresh in (True, False):
                snapshot = big_cluster(workers, stages, fresh=fresh)
                marks = [time.process_time()]
                for _ in range(3):
                    moves = plan(snapshot)
                    marks.append(time.process_time())
                taken = min(after - before for before, after in pairwise(marks))
                cluster = "fresh" if fresh else "running"
                yield [f"{workers:,}", f"{stages:,}", cluster, len(moves), f"{1000 * taken:.0f}", goal]

    table("One decision", ("workers", "stages", "cluster", "moves", "CPU ms, best of 3", "goal ms"), rows())


PARTS = {
    "batch": show_batch,
    "steady": show_steady,
    "hours": show_hours,
    "flip": show_flip,
    "odd": show_odd,
    "crowded": show_crowded,
    "shares": show_shares,
    "decisions": show_decisions,
}


def main(names: Sequence[str]) -> None:
    started = time.perf_counter()
    for name in names or PARTS:
        PARTS[name]()
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
