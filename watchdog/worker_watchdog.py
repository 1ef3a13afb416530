"""pero-worker with upstream's flags: python watchdog/worker_watchdog.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.watchdog import main

if __name__ == "__main__":
    run(main)
