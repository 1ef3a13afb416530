"""When a gateway considers pages that it sent to a cluster lost."""

from __future__ import annotations

from pero_worker.gateway.silence import Silence


def test_pages_are_lost_only_when_nothing_moves_for_a_while() -> None:
    silence = Silence()
    assert [silence.look(float(now), quiet=True) for now in (100, 105, 110, 115)] == [None, None, None, 95.0]
    # Those that were sent again meanwhile get their time, too.
    assert [silence.look(float(now), quiet=True) for now in (120, 129, 130)] == [None, None, 110.0]


def test_whatever_moves_begins_the_wait_anew() -> None:
    silence = Silence()
    looks = [(0, True), (10, True), (14, False), (15, True), (29, True), (30, True)]
    assert [silence.look(float(now), quiet=quiet) for now, quiet in looks] == [None, None, None, None, None, 10.0]
