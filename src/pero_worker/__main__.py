"""The `pero-worker` command; also runs as `python -m pero_worker`."""

import os
import sys


def main() -> None:
    """Entry point. Imports happen late so that Ctrl-C during them shows no traceback, and because worker processes need
    none of them."""
    _open_streams()
    try:
        from pero_worker.cli import main as program  # noqa: PLC0415

        program()
    except KeyboardInterrupt:
        sys.exit(130)


def _open_streams() -> None:
    """Opens null devices for standard streams that are closed. Some schedulers start programs that way: the next file
    to be opened would take the stream's place, and output would be written into it."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # os.open takes the lowest free number. Worker processes must inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
