"""pero-worker with upstream's flags: python worker/worker.py --help"""

from functools import partial

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.worker import main

# The guard is for the processes that a worker starts: they import this file.
if __name__ == "__main__":
    run(partial(main, first_release=True))
