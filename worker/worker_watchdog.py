"""pero-worker with upstream's flags: python worker/worker_watchdog.py --help"""

from functools import partial

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.watchdog import main

if __name__ == "__main__":
    run(partial(main, first_release=True))
