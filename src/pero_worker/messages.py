"""Messages for people who may read another language: each sentence has a name and values. The English texts, for
terminals, logs and JSON, are here; the gateway's pages have the same names in other languages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Text = str | Mapping[str, str]
"""A template, or one for each plural form (`one`, `other`) that the number `n` takes."""

_MAX_DEPTH = 3
_MAX_VALUES = 10
_MAX_TEXT = 500

ENGLISH: Mapping[str, Text] = MappingProxyType(
    {
        # What is wrong with a cluster; `.do`: what to do about it.
        "server_away": "does not answer: {reason}",
        "server_away.do": "start it, or correct its address; work goes on by itself when it is back",
        "low_on_disk": "it is low on disk and takes no more pages: whoever publishes waits",
        "low_on_disk.do": "make room on its disk",
        "low_on_memory": "it is low on memory and takes no more pages: whoever publishes waits",
        "low_on_memory.do": "give it memory, or let workers empty its queues",
        "blocked": "it takes no more pages ({reason}): whoever publishes waits",
        "blocked.do": "see its log",
        "no_watchdog": "none leads: workers keep what they hold, and nobody serves what is new",
        "no_watchdog.do": "pero-worker watchdog",
        "no_queue": "has no queue: nothing can be sent to it",
        "no_queue.do": "pero-worker stage add {stage}",
        "not_loaded": "cannot be loaded: {reason}",
        "not_loaded.do": "upload it again, or go back: pero-worker stage rollback {stage}",
        "disabled": "is disabled, and {waiting} for it",
        "disabled.do": "pero-worker stage add {stage} --priority 0",
        "no_worker": "not served: there is no worker, and {waiting}",
        "no_worker.do": "pero-worker worker",
        "no_label": "not served: no worker has the label {label}",
        "no_label.do": "pero-worker worker --label {label}, or change what it needs: "
        "pero-worker stage add {stage} --needs ''",
        "not_ready": "not served: {waiting}, and its workers cannot begin: {reason}",
        "not_ready.do": "put that right, or correct the stage: pero-worker stage show {stage}; workers try again by "
        "themselves",
        "not_held": "not served: {waiting}, and no worker has been able to load it",
        "not_held.do": "look at its workers' logs, and whether its archive can be fetched: "
        "pero-worker stage show {stage}",
        "stands_still": "stands still: {waiting}, and none was done",
        "stands_still.do": "look at its workers' logs; pero-worker watchdog --dry-run says what the watchdog thinks",
        "clocks": "this machine's is {seconds:.0f} s or more behind the servers', so ages are wrong, and what stands "
        "still is noticed late",
        "clocks.do": "set the clocks of all machines by NTP (timedatectl set-ntp true)",
        "worker_gone": "is gone without a word: it was killed, or its machine is away",
        "worker_gone.do": "start it again, or forget it: pero-worker workers remove {worker}",
        "worker_stuck": "{status}: {reason}",
        "worker_stuck.do": "it tries again by itself",
        "cannot_follow": "serves stage {stage}, whose messages hold references, and cannot follow them: its pages fail",
        "cannot_follow.do": "stop it, or have whole messages go there: pero-worker payloads set --inline {stage}",
        "nonsense": "what stands at {path} makes no sense and counts as unset",
        "nonsense.do": "write it again (a stage's with pero-worker stage add), or remove that node",
        "dead_letters": {"one": "{n} unusable message", "other": "{n} unusable messages"},
        "dead_letters.do": "pero-worker dead list",
        "no_reading": "no page is read: {reason}",
        "no_reading.do": "correct that, and start the gateway again",
        "workers_died": {
            "one": "a worker process died and was replaced; the last {end}{lost}",
            "other": "{n} worker processes died and were replaced; the last {end}{lost}",
        },
        "workers_died.do": "nothing if it stays at that; else see {file}",
        "pages_wait": {"one": "{n} page waits", "other": "{n} pages wait"},
        "died_by_signal": "by {signal}",
        "died_with_status": "with status {status}",
        "in_hand": {"one": " with {n} page in hand", "other": " with {n} pages in hand"},
        # Why the watchdog moved a worker.
        "not_to_be_served": "what it held is not to be served",
        "held_nothing": "it held nothing",
        "had_no_work": "it had no work",
        "can_hold_both": "it can hold both",
        "turn_of_stage": "it is this stage's turn",
        "done_without": "{stage} is done in {seconds:.0f} s without it",
        "use_of_stages": "{lender} is {lent:.0%} used, {stage} {use:.0%}",
        "stage_then": "{stage}: {pages}, {doing}, {load:.1f} s to load",
        "pages": {"one": "{n} page", "other": "{n} pages"},
        "done_in": "done in {seconds:.0f} s",
        "served_by_nobody": "served by nobody for {seconds:.0f} s",
        "sleeps": "it sleeps although pages wait",
        "did_nothing": "it has done nothing for too long",
        "rule_of_upstream": "upstream's rule",
        "fixed_rule": "fixed",
        # Subjects of problems.
        "stage": "stage {name}",
        "worker": "worker {name}",
        "name": "{name}",
        "watchdog": "watchdog",
        "clocks_of_all": "clocks",
        "worker_processes": "workers",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A sentence, or part of one."""

    kind: str
    """The message's name in the catalogues."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The values in the sentence: texts, numbers, other messages."""

    def __str__(self) -> str:
        """Returns the message in English."""
        values = {name: str(value) if isinstance(value, Message) else value for name, value in self.values.items()}
        text = ENGLISH[self.kind]
        return (text if isinstance(text, str) else text["one" if self.values.get("n") == 1 else "other"]).format(
            **values
        )

    @property
    def remedy(self) -> Message:
        """What to do about it."""
        return Message(kind=f"{self.kind}.do", values=self.values)


def said(kind: str, /, **values: object) -> Message:
    """Returns the message `kind` with its values."""
    return Message(kind=kind, values=values)


def to_plain(message: Message) -> dict[str, Any]:
    """Returns the message as JSON data."""
    return {"kind": message.kind, "values": {name: _plain(value) for name, value in message.values.items()}}


def _plain(value: object) -> object:
    if isinstance(value, Message):
        return to_plain(value)
    # JSON has no infinite numbers.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_plain(found: Any, depth: int = 0) -> Message | None:
    """Parses the output of `to_plain`; None if it is no valid message."""
    if not isinstance(found, dict) or depth >= _MAX_DEPTH:
        return None
    kind, given = found.get("kind"), found.get("values")
    if not isinstance(kind, str) or kind not in ENGLISH or not isinstance(given, dict) or len(given) > _MAX_VALUES:
        return None
    values: dict[str, Any] = {}
    for name, value in given.items():
        inner = from_plain(value, depth + 1) if isinstance(value, dict) else value
        if isinstance(inner, bool) or not isinstance(inner, Message | str | int | float):
            return None
        values[str(name)[:_MAX_TEXT]] = inner[:_MAX_TEXT] if isinstance(inner, str) else inner
    message = Message(kind=kind, values=values)
    try:
        str(message)
    except (KeyError, ValueError, OverflowError):
        return None
    return message
