"""Spans of a page, made from what its request and logs say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from pero_worker.request import Request, StageLog
from pero_worker.tracing import is_wanted
from pero_worker.tracing.spans import Place, place_in, root_of, stage_spans, trace_of
from pero_worker.wire.queues import TRACEPARENT, headers_of, traceparent_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SENT = Place(trace="a" * 32, span="b" * 16)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def log(start: float, end: float, stage: str = "ocr", **more: object) -> StageLog:
    return StageLog(host_id="w1", stage=stage, start=at(start), end=at(end), status=more.pop("status", "OK"), **more)  # type: ignore[arg-type]


def page(*logs: StageLog) -> Request:
    return Request(uuid="r", page_uuid="p", stages=("out",), logs=logs, start_time=NOON)


def spans_of(request: Request, begun: int = 0, **more: bool) -> list[tuple[str, str, float, float]]:
    numbers = count(1)
    spans, _ = stage_spans(request, begun, SENT, new_id=lambda: f"{next(numbers):016x}", **more)
    return [
        (span.name, span.parent[-2:], (span.start - NOON).total_seconds(), (span.end - NOON).total_seconds())
        for span in spans
    ]


def test_a_stage_waits_and_goes_through_its_phases() -> None:
    done = log(2, 6, seconds={"total": 4.0, "write": 0.5, "ocr": 2.0, "read": 0.5, "layout": 1.0})
    assert spans_of(page(done)) == [
        ("wait ocr", "bb", 0, 2),
        ("process ocr", "bb", 2, 6),
        ("read", "02", 2, 2.5),
        ("layout", "02", 2.5, 3.5),
        ("ocr", "02", 3.5, 5.5),
        ("write", "02", 5.5, 6),
    ]


def test_stages_of_one_worker_follow_each_other() -> None:
    found = spans_of(page(log(1, 2, "a"), log(2, 3, "b")))
    assert found == [("wait a", "bb", 0, 1), ("process a", "bb", 1, 2), ("process b", "02", 2, 3)]


def test_what_was_told_before_is_not_told_again() -> None:
    assert [name for name, *_ in spans_of(page(log(1, 2, "a"), log(4, 5, "b")), 1)] == ["wait b", "process b"]
    assert spans_of(page(log(1, 2)), 1) == []


def test_clocks_that_differ_give_no_negative_times() -> None:
    """The worker's clock is behind the sender's, and was itself set back."""
    assert spans_of(page(log(-5, -9, seconds={"ocr": 4.0}))) == [("process ocr", "bb", -5, -5), ("ocr", "01", -5, -5)]


def test_phases_longer_than_their_stage_end_with_it() -> None:
    found = spans_of(page(log(0, 1, seconds={"ocr": 1e300, "write": -1.0, "words": 0.5})))
    assert found == [("process ocr", "bb", 0, 1), ("ocr", "01", 0, 1), ("words", "01", 1, 1)]


def test_a_lost_header_makes_a_root_of_the_same_trace() -> None:
    assert [parent for _, parent, *_ in spans_of(page(log(1, 2)), lost=True)] == ["", ""]
    assert trace_of("p") == trace_of("p") != trace_of("q")
    assert root_of("p") != root_of("p", 1)


def test_a_failure_is_an_error_with_its_first_line() -> None:
    spans, _ = stage_spans(page(log(0, 1, status="Failed", log="bad\nmore")), 0, SENT, new_id=lambda: "1" * 16)
    assert [span.error for span in spans] == ["bad"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "A" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "b" * 16 + "-01\n",
        "00-" + "a" * 32 + "-" + "b" * 16 + "-01" + "x" * 10**6,
        b"00-" + b"a" * 32,
        7,
        None,
    ],
)
def test_headers_that_are_none(value: object) -> None:
    assert traceparent_of({TRACEPARENT: value}) == ""


def test_a_header_there_and_back() -> None:
    for place in (SENT, replace(SENT, sampled=False)):
        assert place_in(traceparent_of(headers_of(place.traceparent))) == place
    assert headers_of("") is None and traceparent_of(None) == ""


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_who_wants_traces(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) is wanted


OPEN = """
import logging, sys
logging.basicConfig(format="%(message)s")
from pero_worker.brokers.access import BrokerAccess
from pero_worker.tracing.rabbit import open_rabbit
broker = open_rabbit(BrokerAccess(servers=()), "pero-worker")
loaded = sorted(name for name in sys.modules if name.startswith(("opentelemetry", "requests", "pero_worker.tracing")))
print(type(broker).__name__, *loaded)
broker.close()
"""


@pytest.mark.parametrize(
    ("variables", "kind", "said"),
    [
        ({}, "RabbitBroker pero_worker.tracing pero_worker.tracing.rabbit\n", ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "TracedBroker ", ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"}, "RabbitBroker ", "must be as http://HOST:4318"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "TracedBroker ",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
            "RabbitBroker ",
            "cannot be set up",
        ),
    ],
)
def test_nothing_is_loaded_unless_it_is_wanted(variables: dict[str, str], kind: str, said: str) -> None:
    """It needs a process of its own: what this one has loaded says nothing."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN], capture_output=True, text=True, check=True, env={**os.environ, **variables}
    )
    assert done.stdout.startswith(kind) and said in done.stderr and "Traceback" not in done.stderr


def test_without_the_packages_pages_go_on() -> None:
    hide = "import sys; sys.modules['opentelemetry.sdk'] = None\n"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", hide + OPEN], capture_output=True, text=True, check=True, env={**os.environ, **variables}
    )
    assert done.stdout.startswith("RabbitBroker ") and "pip install 'pero-worker[otel]'" in done.stderr
