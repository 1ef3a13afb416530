"""pero-worker with upstream's flags: python scripts/stage_config_manager.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.stage_config_manager import main

if __name__ == "__main__":
    run(main)
