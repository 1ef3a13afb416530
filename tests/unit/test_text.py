"""What others wrote has no say over a terminal or a log."""

from __future__ import annotations

import ast
import logging
import sys
from pathlib import Path

import pytest

from pero_worker.cli.say import say, say_lines, warn
from pero_worker.cluster.logs.stderr import TerminalFormatter
from pero_worker.text import MAX_LINE_LENGTH, clean_lines, one_line

CLI = Path(__file__).parents[2] / "src/pero_worker/cli"
HOSTILE = [
    "\x1b]52;c;cHduZWQ=\x07",  # into the clipboard
    "\x1b[2J\x1b[1;1H",
    "\x9b31m\x90q\x9c",  # the same in one byte
    "a\rFAKE: 100 pages ok",
    "a\nFAKE: 100 pages ok\x85\u2028\u2029\v\f",
    "\u202egpj.exe\u2066\u200f\u061c",
    "a\x08\x08b\x7f",
    "\ud800\udfff",
    "\U000e0041\ufeff\u200b",
    "\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = one_line(f"page {text} failed")
    assert shown.isprintable() and shown.startswith("page ") and shown.endswith(" failed")
    assert clean_lines(text).replace("\n", "").replace("\t", "").isprintable()
    shown.encode()


@pytest.mark.parametrize(
    "text", ["Žluťoučký kůň", "אבג", "नमस्ते", "می‌خواهم", "👩‍🔬", "C:\\scans\\a b.png", "soft\u00adhyphen"]
)
def test_words_of_all_scripts_stay(text: str) -> None:
    assert one_line(text) == text


def test_lines_are_bounded() -> None:
    assert len(one_line("x" * 10_000_000)) < MAX_LINE_LENGTH + 100
    assert clean_lines("a\tb\nc") == "a\tb\nc"


@pytest.mark.parametrize("text", HOSTILE)
def test_what_commands_say_is_clean(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"1 {text}")
    warn(f"2 {text}")
    say_lines(f"3 {text}")
    out, err = capsys.readouterr()
    assert len(err.split("\n")) == 2
    assert all(character.isprintable() or character == "\n" for character in out + err)


def test_all_commands_speak_through_one_door() -> None:
    """`typer.echo` and `print` only for JSON and figures, which escape what they hold, and for help, which is ours."""
    escaped = {"dumps", "as_json_text", "exposition", "decode", "get_help"}
    found = []
    for path in CLI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or path.name == "say.py":
                continue
            name = ast.unparse(node.func)
            inner = [ast.unparse(call.func).rpartition(".")[2] for call in ast.walk(node) if isinstance(call, ast.Call)]
            if name in {"typer.echo", "print", "click.echo"} and not escaped & set(inner):
                found.append(f"{path.name}:{node.lineno}")
    assert not found


def test_a_log_on_a_terminal_is_a_line_a_record() -> None:
    try:
        raise ValueError("\x1b[2Jwrong\x07")
    except ValueError:
        record = logging.LogRecord(
            "n", logging.ERROR, "f", 1, "page %s failed", ("a\nFAKE\x1b]0;t\x07",), sys.exc_info()
        )
    first, *rest = TerminalFormatter().format(record).split("\n")
    assert "page a\\nFAKE" in first and first.isprintable()
    assert rest[0].startswith("Traceback") and all(line.isprintable() for line in rest)
