"""`pero-worker`, also as `python -m pero_worker`."""

import os
import sys


def main() -> None:
    """Entry point. Imports come late: Ctrl-C ends them without a trace, and worker processes need none of them."""
    _open_streams()
    try:
        from pero_worker.cli import main as program  # noqa: PLC0415

        program()
    except KeyboardInterrupt:
        sys.exit(130)


def _open_streams() -> None:
    """Some schedulers start programs with closed streams: a file would be opened in their place, and written to."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # It takes the lowest number that is free; worker processes are to have it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
