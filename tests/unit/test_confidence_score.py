"""What a confidence is worth, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from confidence import Judged, drawn, judged
from lxml import etree

from pero_worker.page import Line, Page, Region


def lines(*rows: tuple[float, int, int]) -> Judged:
    table = np.array(rows)
    return Judged(confidence=table[:, 0], letters=table[:, 1].astype(int), wrong=table[:, 2].astype(int))


def test_ranks_of_a_confidence_that_knows_and_of_one_that_does_not() -> None:
    knows = lines((0.99, 100, 1), (0.95, 100, 5), (0.8, 100, 20), (0.7, 100, 30))
    assert knows.spearman() == pytest.approx(-1) and knows.auroc() == 1
    turned = lines((0.7, 100, 1), (0.8, 100, 5), (0.95, 100, 20), (0.99, 100, 30))
    assert turned.spearman() == pytest.approx(1) and turned.auroc() == 0
    assert knows.distance() == pytest.approx(0) and turned.distance() == pytest.approx((0.29 + 0.15 + 0.15 + 0.29) / 4)


def test_lines_without_a_fault_bound_the_rank() -> None:
    half = lines(*[(0.9, 10, 0)] * 50, *[(0.9, 100, n) for n in range(1, 51)])
    assert half.best_rank() == pytest.approx(-((1 - 0.5**3) ** 0.5), abs=1e-3)
    assert lines((0.9, 9, 1), (0.8, 9, 2), (0.7, 9, 3)).best_rank() == -1
    honest = lines(*[(0.5 + n / 200, 400, 1) for n in range(90)])
    assert -1 < honest.honest_rank() < -0.95


def page(*texts: str, confidence: float | None = None) -> Page:
    found = tuple(
        Line(
            id=f"l{place}",
            baseline=((0, 40 * place), (300, 40 * place)),
            polygon=(),
            heights=(20.0, 8.0),
            text=text,
            confidence=confidence,
        )
        for place, text in enumerate(texts, 1)
    )
    return Page(name="p", width=400, height=400, regions=(Region(id="r", polygon=(), lines=found),))


def test_lines_are_compared_with_those_at_their_place() -> None:
    truth = page("first", "second", "")
    found = judged([(truth, page("firſt", "sec", "noise", confidence=0.9))])
    assert found.letters.tolist() == [5, 6] and found.wrong.tolist() == [0, 3]
    assert not len(judged([(truth, page("first"))]).letters)


def test_the_diagram_has_a_point_for_every_bin_of_enough_letters() -> None:
    series = {"one": lines((0.9, 1000, 90), (0.99, 1000, 10), (0.6, 9, 3)), "other": lines((0.95, 500, 20))}
    root = etree.fromstring(drawn(series).encode())
    circles = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 2 + 1 + len(series)
    width, height = float(root.get("width")), float(root.get("height"))
    assert all(0 < float(c.get("cx")) < width and 0 < float(c.get("cy")) < height for c in circles)
