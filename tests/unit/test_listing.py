"""Lists on a terminal."""

from __future__ import annotations

import pytest

from pero_worker.cli.listing import print_list


def test_columns_are_as_wide_as_what_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(("queue", "waiting", "note"), [("out", 12, ""), ("a longer one", 3, "two\nlines")], empty="none")
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "queue         waiting  note",
        "out                12  -",
        "a longer one        3  two\\nlines",
    ]
    assert err == ""


def test_nothing_to_list_says_so_beside_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(("queue",), [], empty="there are no queues")
    assert capsys.readouterr() == ("", "there are no queues\n")


def test_a_cell_that_is_full_of_anything_does_not_push_the_others_away(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(("version", "note"), [("x" * 900_000, "here"), ("1", "there")], empty="none")
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) < 250
