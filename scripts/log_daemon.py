"""pero-worker with upstream's flags: python scripts/log_daemon.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.log_daemon import main

if __name__ == "__main__":
    run(main)
