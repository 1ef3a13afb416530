"""The wire format of a request against bytes built by hand and by a foreign protobuf class."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.errors import PeroWorkerError, RequestError
from pero_worker.request import Payload, Request, StageLog, StageStatus
from pero_worker.wire.requests import decode_request, encode_request

START = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
GOLDEN = bytes.fromhex(
    "0a02613112026231"  # uuid "a1", page_uuid "b1"
    "1801"  # priority 1
    "220b08c0f895d8061080e59a77"  # start_time: seconds and nanoseconds as varints
    "2a06737461676531"  # processing_stages "stage1"
    "2a036f7574"  # "out"
    "320e0a05612e6a70671205696d616765"  # results: a.jpg -> "image"
)


def request() -> Request:
    return Request(
        uuid="a1",
        page_uuid="b1",
        stages=("stage1", "out"),
        results=(Payload(name="a.jpg", content=b"image"),),
        priority=1,
        start_time=START,
    )


def test_bytes_are_those_of_the_contract() -> None:
    assert encode_request(request()).hex() == GOLDEN.hex()
    assert decode_request(GOLDEN) == request()


def test_logs_with_our_extensions_survive() -> None:
    log = StageLog(
        host_id="worker",
        stage="stage1",
        start=START,
        end=START,
        status=StageStatus.FAILED,
        log="why",
        version="v2",
        engine="dummy",
        failure_class="page",
        attempt=2,
        seconds={"ocr": 1.5, "read": 0.25},
    )
    there_and_back = decode_request(encode_request(request().to_be_retried(log)))
    assert there_and_back.logs == (log,)
    assert there_and_back.failed_attempts == 1


def test_fields_of_a_newer_program_are_kept() -> None:
    newer = GOLDEN + bytes.fromhex("fa3f03") + b"new"  # field 1023, a string
    decoded = decode_request(newer)
    assert encode_request(decoded).endswith(bytes.fromhex("fa3f03") + b"new")
    inner = b"\x0a\x01x\x12\x01y\xfa\x3f\x01z"  # the same inside a result
    message = b"\x2a\x01s\x32" + bytes([len(inner)]) + inner
    assert b"\xfa\x3f\x01z" in encode_request(decode_request(message))


@pytest.mark.parametrize("body", [b"", b"not protobuf at all", b"\x0a\xff\xff\xff\xff\x0f", GOLDEN[:-3]])
def test_garbage_is_a_request_error(body: bytes) -> None:
    with pytest.raises(RequestError):
        decode_request(body)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parser(body: bytes) -> None:
    try:
        decoded = decode_request(body)
    except PeroWorkerError:
        return
    assert decode_request(encode_request(decoded)) == decoded


def test_where_a_request_goes() -> None:
    fine = StageLog(host_id="w", stage="stage1", start=START, end=START, status=StageStatus.OK)
    bad = StageLog(host_id="w", stage="stage1", start=START, end=START, status=StageStatus.FAILED)
    two = Request(uuid="a", page_uuid="b", stages=("stage1", "stage2", "out"))
    assert two.advanced((), fine).destination == "stage2"
    assert two.to_be_retried(bad).destination == "stage1"
    assert two.given_up(bad).destination == "out"
    assert two.given_up(bad).stages == ("stage2", "out")


def test_what_a_cancelled_page_refers_to_is_still_known_to_whoever_removes_it() -> None:
    results = (Payload(name="a.jpg", reference="payload:one"), Payload(name="a.xml", content=b"<PcGts/>"))
    request = Request(uuid="a", page_uuid="b", stages=("ocr", "out"), results=results, superseded=("payload:old",))
    cancelled = request.taken_back("host", datetime(2026, 11, 25, tzinfo=UTC))
    assert not cancelled.results
    assert cancelled.references == ("payload:old", "payload:one")
