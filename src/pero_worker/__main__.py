"""`pero-worker`, also as `python -m pero_worker`."""

import sys


def main() -> None:
    """Entry point. Imports come late: Ctrl-C ends them without a trace, and worker processes need none of them."""
    try:
        from pero_worker.cli import main as program  # noqa: PLC0415

        program()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
