"""A door to pero-worker with upstream's flags: python watchdog/worker_watchdog.py --help"""

from pero_worker.cli.doors.common import run
from pero_worker.cli.doors.watchdog import main

if __name__ == "__main__":
    run(main)
