"""What answers a worker process's calls."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from pero_worker.brokers.memory import MemoryBroker
from pero_worker.coordinators.memory import MemoryCoordinator
from pero_worker.local.pipe import RemoteBroker, serve


def test_a_process_does_not_wait_for_an_answer_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls can no longer be answered: it ends, and another is started in its place."""
    broker = MemoryBroker(["ocr"])
    ours, theirs = Pipe()
    thread = serve(ours, broker, MemoryCoordinator(()))
    remote = RemoteBroker(theirs)
    assert remote.get(("ocr",), "worker", 0) is None

    def explode(*_: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(broker, "get", explode)
    with pytest.raises(SystemExit):
        remote.get(("ocr",), "worker", 0)
    thread.join(10)
    assert not thread.is_alive()
