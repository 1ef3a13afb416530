"""One exception tree; an error's class decides what happens to the page.

PeroWorkerError
├── TransientError    a server or the model store is away: the page goes back, and nothing is counted
│   ├── DeviceError   a GPU is unavailable: the same, and a new process takes over
│   └── StoreAwayError  the payload store is away: the same, and never counted against the page
├── PageError         this page cannot be done: counted against the page, never blocks others
│   └── JobCancelledError   its job was cancelled
├── StageError        a pipeline or stage cannot be loaded: its pages wait
│   └── NoFileError   a store has no such file
├── RequestError      the message itself is unusable: set aside whole
│   └── NoQueueError  the queue that it should go to does not exist
├── OutputError       results cannot be written: the run ends
└── UsageError        the command line asks for something impossible
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the program's exit status means; the README prints this table."""

    OK = 0
    BUG = 1
    USAGE = 2
    SOME_PAGES_FAILED = 3
    NO_INPUT = 4
    PIPELINE = 5
    UNAVAILABLE = 6
    OUTPUT = 7
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class PeroWorkerError(Exception):
    """Base class of every error that this program raises on purpose.

    The message is one sentence for the operator and names the remedy; it is shown without a traceback.
    """

    exit_code = ExitCode.BUG
    failure_class = "bug"


class TransientError(PeroWorkerError):
    """Something is unavailable for the moment; a later attempt may succeed."""

    exit_code = ExitCode.UNAVAILABLE
    failure_class = "transient"


class DeviceError(TransientError):
    """A GPU failed or is gone, at least for this process, which loses whatever it holds on the device."""


class StoreAwayError(TransientError):
    """The payload store does not answer, or refuses everything."""


class PageError(PeroWorkerError):
    """This page failed. `permanent` errors (undecodable image) are not worth another attempt."""

    exit_code = ExitCode.SOME_PAGES_FAILED
    failure_class = "page"

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent

    def __reduce__(self) -> tuple[object, ...]:
        return (_page_error, (str(self), self.permanent))


def _page_error(message: str, permanent: bool) -> PageError:
    return PageError(message, permanent=permanent)


class JobCancelledError(PageError):
    """The page was not read because its job was cancelled."""

    failure_class = "cancelled"


class StageError(PeroWorkerError):
    """A pipeline, a stage or its model cannot be used."""

    exit_code = ExitCode.PIPELINE
    failure_class = "stage"


class NoFileError(StageError):
    """A store answers, but has no such file."""


class RequestError(PeroWorkerError):
    """A message cannot be used."""

    exit_code = ExitCode.SOME_PAGES_FAILED
    failure_class = "request"


class NoQueueError(RequestError):
    """There is no queue of that name."""


class OutputError(PeroWorkerError):
    """Results cannot be written or read."""

    exit_code = ExitCode.OUTPUT
    failure_class = "output"


class UsageError(PeroWorkerError):
    """A name, a value or an address is wrong."""

    exit_code = ExitCode.USAGE
    failure_class = "usage"


class NoInputError(UsageError):
    """There is nothing to read."""

    exit_code = ExitCode.NO_INPUT


def joined(failures: Sequence[PeroWorkerError]) -> PeroWorkerError:
    """Returns one error with what several servers said: transient if one of them may do better later, otherwise of the
    last one's class."""
    text = "; ".join(str(failure) for failure in failures)
    if any(isinstance(failure, TransientError) for failure in failures):
        return TransientError(text)
    return type(failures[-1])(text)
