"""A door to pero-worker with upstream's flags: python scripts/log_daemon.py --help"""

from pero_worker.cli.doors.common import run
from pero_worker.cli.doors.log_daemon import main

if __name__ == "__main__":
    run(main)
