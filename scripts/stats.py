"""pero-worker with upstream's flags: python scripts/stats.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.stats import main

if __name__ == "__main__":
    run(main)
