"""Rules that the simulator compares the policy with: upstream's, and the best fixed split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pero_worker.messages import said
from pero_worker.watchdog.snapshot import Move, Snapshot

PAGES_A_TURN = 10
MIN_TURN_SECONDS = 10.0
_UNMEASURED_SECONDS = 100.0
"""Time assumed for a page of a stage that has no average yet."""


class UpstreamRule:
    """The rule of the newest upstream watchdog: a round every ten seconds; workers that are loading are not counted;
    the average settles at twice the true value; a free worker is sent again in every round, and serves its queue until
    that is empty."""

    interval, looks_on_events, worker_stops_when_idle = 10.0, False, True

    def __init__(self) -> None:
        self._unlock: dict[str, float] = {}
        self._since: dict[str, float] = {}

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]:
        stages = {stage.name: stage for stage in seen.stages}
        # Upstream's average is (mean + old / 2), which soon converges to twice the mean.
        mean = {
            name: next((2 * cost.seconds for cost in stage.costs.values() if cost.seconds), _UNMEASURED_SECONDS)
            for name, stage in stages.items()
        }
        present = [worker for worker in seen.workers if not worker.loading]
        on = Counter(worker.holds[0] for worker in present if worker.holds)
        # RabbitMQ's management API also counts pages in hand.
        messages = {name: stage.waiting for name, stage in stages.items()}
        for worker in present:
            if worker.busy and worker.holds:
                messages[worker.holds[0]] += 1

        def score(name: str) -> float:
            since = self._since.get(name)
            waited = now - since if since is not None and not on[name] else 0.0
            return messages[name] * mean[name] / (on[name] + 1) + waited * (stages[name].priority + 1)

        moves: list[Move] = []

        def send(worker: str, before: str, name: str) -> None:
            if before:
                on[before] -= 1
            on[name] += 1
            self._unlock[worker] = now + PAGES_A_TURN * mean[name] + MIN_TURN_SECONDS
            self._since.pop(name, None)
            moves.append(Move(worker=worker, stages=(name,), why=(said("rule_of_upstream"),)))

        best = max(stages, key=score, default=None)
        if best is None or score(best) <= 0:
            return moves
        free = [worker for worker in present if not worker.busy]
        if free:
            for worker in free:
                send(worker.name, worker.holds[0] if worker.holds else "", max(stages, key=score))
        else:
            target = max(stages, key=score)
            for name in sorted(stages, key=score):
                donors = [w for w in present if w.holds and w.holds[0] == name and self._unlock.get(w.name, 0.0) <= now]
                if donors:
                    send(donors[0].name, name, target)
                    break
        for name in stages:
            if messages[name] and not on[name] and name not in self._since:
                self._since[name] = now
        return moves


class FixedSplit:
    """Keeps a fixed number of workers on each stage."""

    interval, looks_on_events, worker_stops_when_idle = 1.0, False, False

    def __init__(self, split: Mapping[str, int]) -> None:
        self._split = split

    def decide(self, now: float, seen: Snapshot) -> Sequence[Move]:
        """Sends workers without a stage to the places that are free."""
        on = Counter(worker.holds[0] for worker in seen.workers if worker.holds)
        places = [name for name, count in self._split.items() for _ in range(count - on[name])]
        free = [worker for worker in seen.workers if not worker.holds]
        return [
            Move(worker=worker.name, stages=(name,), why=(said("fixed_rule"),))
            for worker, name in zip(free, places, strict=False)
        ]


def splits(stages: Sequence[str], workers: int) -> Iterator[dict[str, int]]:
    """Yields all ways to put at least one worker on every stage."""
    if len(stages) == 1:
        yield {stages[0]: workers}
        return
    for count in range(1, workers - len(stages) + 2):
        for rest in splits(stages[1:], workers - count):
            yield {stages[0]: count, **rest}
