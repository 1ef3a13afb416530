"""pero-worker with upstream's flags: python scripts/controller.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.controller import main

if __name__ == "__main__":
    run(main)
