"""Where the task's module is looked for besides Python's own search path. Called by __main__.py before any task is loaded.

What is named there comes last: a file of the user's can take the place of no module that the trainer itself needs.
"""

import os
import sys

from fedapi import names


def extend() -> None:
    """Puts the folders of FEDLOOM_TASK_PATH, which are separated as in PYTHONPATH, at the end of the search path."""
    folders = filter(None, os.environ.get(names.ENV_TASK_PATH, "").split(os.pathsep))
    sys.path += [folder for folder in folders if folder not in sys.path]
