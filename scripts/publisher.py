"""pero-worker with upstream's flags: python scripts/publisher.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.publisher import main

if __name__ == "__main__":
    run(main)
