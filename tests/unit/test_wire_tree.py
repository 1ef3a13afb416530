"""Golden values of what is stored in ZooKeeper, from a dump of an upstream cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.errors import StageError, UsageError
from pero_worker.wire import tree
from pero_worker.wire.servers import Server, parse_server
from pero_worker.wire.tree import TREE


def test_paths() -> None:
    assert TREE.servers("mq") == "/pero/worker/config/mq_servers"
    assert TREE.servers("mq_monitoring") == "/pero/worker/config/mq_monitoring_servers"
    assert TREE.servers("ftp") == "/pero/worker/config/ftp_servers"
    assert TREE.worker("w1", "status/connected") == "/pero/worker/status/w1/status/connected"
    assert TREE.stage("s1", "avg_msg_time") == "/pero/queue/s1/avg_msg_time"


def test_seconds() -> None:
    assert tree.decode_seconds(b"0x1.12d35d3ec3b9ap-9") == float.fromhex("0x1.12d35d3ec3b9ap-9")
    assert tree.encode_seconds(0.403125) == b"0x1.9cccccccccccdp-2"
    assert tree.decode_seconds(b"") is None
    for nonsense in (b"soon", b"\xff", b"nan", b"inf", b"-0x1p0", b"0x1p99999", b"0x1p60", b"0x" + b"1" * 10**6):
        assert tree.decode_seconds(nonsense) is None


@given(st.floats(min_value=0, max_value=tree.MAX_SECONDS))
def test_seconds_survive(value: float) -> None:
    assert tree.decode_seconds(tree.encode_seconds(value)) == value


def test_priorities_of_any_length() -> None:
    assert tree.decode_priority(b"\0" * 27 + b"\3") == 3
    assert tree.decode_priority(b"\0" * 23 + b"\3") == 3
    assert tree.decode_priority(b"") == 0
    assert tree.encode_priority(3) == b"\0" * 27 + b"\3"
    assert tree.decode_priority(b"\x7f" * 200) == tree.decode_priority(b"\xff" * 10**6) == tree.MAX_PRIORITY


def test_times() -> None:
    moment = datetime(2026, 11, 24, 16, 51, 2, 116297, UTC)
    assert tree.encode_time(moment) == b"2026-11-24T16:51:02.116297+00:00"
    assert tree.encode_time(moment.astimezone(timezone(timedelta(hours=1)))) == b"2026-11-24T16:51:02.116297+00:00"
    assert tree.decode_time(b"2026-11-24T16:51:02.116297+00:00") == moment
    assert tree.decode_time(b"2026-11-24T16:51:02.116297") == moment
    assert tree.encode_time(None) == b""
    for nothing in (b"", b"yesterday", b"\xff", b"0001-01-01T00:00:00+23:59"):
        assert tree.decode_time(nothing) is None


def test_flags() -> None:
    assert (tree.encode_flag(True), tree.encode_flag(False)) == (b"true", b"false")
    assert not any(tree.decode_flag(value) for value in (b"", b"false", b"True", b"1"))


def test_facts() -> None:
    assert tree.decode_info(tree.encode_info({"pages": 3})) == {"pages": 3}
    for nonsense in (b"", b"[1]", b"{", b"\xff", b"[" * 150_000, b'{"a": ' * 5000, b" " * 300_000 + b"{}"):
        assert tree.decode_info(nonsense) == {}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "1" * 20])
def test_facts_hold_no_number_that_cannot_be(number: str) -> None:
    assert tree.decode_info(b'{"memory": %s, "pages": 3}' % number.encode()) == {"memory": None, "pages": 3}


def test_values_that_make_no_sense_are_named() -> None:
    values = {
        "info": b"[" * 200_000,
        "stages": b"layout",
        "administrative_priority": b"\x7f" * 200,
        "avg_msg_time": b"soon",
        "waiting_since": b"yesterday",
        "measured": b"[]",
        "config": b"\xff",
    }
    assert set(tree.unreadable(values)) == values.keys() - {"config"}
    good = {"info": b"{}", "stages": b"[]", "administrative_priority": tree.encode_priority(7), "avg_msg_time": b""}
    assert tree.unreadable(good) == ()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a\0", "a\n", "a\x85", "x" * 201, "amq.x", "zookeeper", "\ud800"]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(StageError):
        tree.check_name(name)


def test_names_that_can_be() -> None:
    for name in ("out", "ocr 2", "čeština", "a.b-c_d"):
        assert tree.check_name(name) == name


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1", Server(host="127.0.0.1")),
        ("127.0.0.1:65535", Server(host="127.0.0.1", port=65535)),
        ("zoo1.example.org:2181", Server(host="zoo1.example.org", port=2181)),
        ("rabbit_mq", Server(host="rabbit_mq")),
        ("[::1]:5672", Server(host="::1", port=5672)),
        ("[::1]", Server(host="::1")),
        ("fe80::1", Server(host="fe80::1")),
    ],
)
def test_servers(text: str, server: Server) -> None:
    assert parse_server(text) == server
    assert parse_server(str(server)) == server


@pytest.mark.parametrize(
    "text", ["", " ", ":5672", "a b", "host:", "host:x", "host:0", "host:65536", "-a", "[::1", "a/b", "http://a"]
)
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(UsageError):
        parse_server(text)


def test_a_list_of_ours_belongs_to_the_command_that_it_begins_with() -> None:
    both = tree.encode_names(["layout", "ocr"])
    assert both == b'["layout", "ocr"]'
    assert tree.held_stages(b"layout", both) == ("layout", "ocr")
    assert tree.held_stages(b"ocr", both) == ("ocr",), "upstream's watchdog sent it elsewhere"
    assert tree.held_stages(b"", both) == ()
    assert tree.held_stages(b"layout", b"") == ("layout",)
    assert tree.held_stages(b"../x", b"") == tree.held_stages(b"x" * 201, b"") == ()
    assert tree.held_stages(b"layout", tree.encode_names(["layout", "a/b", "x" * 300, "ocr"])) == ("layout", "ocr")


@pytest.mark.parametrize("value", [b"", b"{}", b"[1, null]", b"layout", b"[" * 5000, b"\xff"])
def test_what_is_no_list_is_none(value: bytes) -> None:
    assert tree.decode_names(value) == ()
