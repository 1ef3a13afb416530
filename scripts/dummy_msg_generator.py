"""pero-worker with upstream's flags: python scripts/dummy_msg_generator.py --help"""

from pero_worker.cli.upstream.common import run
from pero_worker.cli.upstream.dummy_msg_generator import main

if __name__ == "__main__":
    run(main)
