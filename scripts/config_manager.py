"""pero-worker with upstream's flags: python scripts/config_manager.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.config_manager import main

if __name__ == "__main__":
    run(main)
