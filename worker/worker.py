"""A door to pero-worker with upstream's flags: python worker/worker.py --help"""

from functools import partial

from pero_worker.cli.doors.common import run
from pero_worker.cli.doors.worker import main

# The guard is for the processes that a worker starts: they import this file.
if __name__ == "__main__":
    run(partial(main, seed=True))
