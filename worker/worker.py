"""A door to pero-worker with upstream's flags: python worker/worker.py --help"""

from functools import partial

from pero_worker.cli.doors.common import run
from pero_worker.cli.doors.worker import main

run(partial(main, seed=True))
