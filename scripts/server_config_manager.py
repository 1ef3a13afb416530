"""pero-worker with upstream's flags: python scripts/server_config_manager.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.server_config_manager import main

if __name__ == "__main__":
    run(main)
