"""pero-worker with upstream's flags: python worker/run_worker.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.worker import main

# The guard is for the processes that a worker starts: they import this file.
if __name__ == "__main__":
    run(main)
