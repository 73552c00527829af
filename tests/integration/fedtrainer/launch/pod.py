"""The launcher as a pod's process, with rank.py in place of the trainer's ranks."""

import logging
import os
import sys
from pathlib import Path

from fedtrainer import termination
from fedtrainer.errors import StopError
from fedtrainer.launch.launcher import run
from fedtrainer.settings import TrainerSettings

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        code = run(TrainerSettings.read(), (sys.executable, str(Path(__file__).with_name("rank.py"))))
    except StopError as error:
        termination.leave_reason(str(error))
        code = error.exit
    os._exit(code)
