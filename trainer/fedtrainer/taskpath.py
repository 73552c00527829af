"""Where the task's module is looked for besides Python's own search path. Called by process.py before any task is loaded.

What is named there comes last: a file of the user's can take the place of no module that the trainer itself needs.
"""

import os
import sys
from collections.abc import Set as AbstractSet

from fedapi import names


def extend() -> None:
    """Puts the folders of FEDLOOM_TASK_PATH, which are separated as in PYTHONPATH, at the end of the search path."""
    sys.path += [folder for folder in _folders() if folder not in sys.path]


def forget(entrypoint: str, kept: AbstractSet[str]) -> None:
    """Unloads the task's own modules, as if none had been imported yet: what they hold is of the site before.

    These are the entrypoint's package and whatever lies in the folders of FEDLOOM_TASK_PATH, but for modules in `kept`.
    """
    package = entrypoint.partition(":")[0].partition(".")[0]
    folders = tuple(os.path.join(folder, "") for folder in _folders())  # noqa: PTH118 - for every module of a process
    for name in sys.modules.keys() - kept:
        file = getattr(sys.modules[name], "__file__", None)
        if name.partition(".")[0] == package or (isinstance(file, str) and file.startswith(folders)):
            del sys.modules[name]


def _folders() -> list[str]:
    return [folder for folder in os.environ.get(names.ENV_TASK_PATH, "").split(os.pathsep) if folder]
