"""Names that fit, numbers with their nouns, several failures in one."""

from __future__ import annotations

import pytest

from pero_worker.errors import PeroWorkerError, StageError, TransientError, UsageError, joined
from pero_worker.names import bounded_name, counted


def test_a_long_name_is_cut_at_a_letter_and_stays_apart_from_others() -> None:
    assert bounded_name("ä" * 50, 100) == "ä" * 50
    first, second = bounded_name("ä" * 51, 100), bounded_name("ä" * 50 + "x", 100)
    assert first != second
    assert all(len(name.encode()) <= 100 and name.startswith("ä" * 40) for name in (first, second))


def test_one_is_no_plural() -> None:
    assert [counted(number, "page") for number in (0, 1, 2)] == ["0 pages", "1 page", "2 pages"]


@pytest.mark.parametrize(
    ("failures", "kind"),
    [
        ([UsageError("a"), TransientError("b"), StageError("c")], TransientError),
        ([UsageError("a"), UsageError("b"), StageError("c")], StageError),
    ],
)
def test_several_failures_are_one_that_is_transient_if_any_is(
    failures: list[PeroWorkerError], kind: type[PeroWorkerError]
) -> None:
    found = joined(failures)
    assert type(found) is kind and str(found) == "a; b; c"
