"""Ends a rank whose launcher has died. Called by __main__ in every rank that a launcher has started.

The launcher holds the other end of the rank's standard input and never writes: its end, however it comes about, is
the end of that file. A pipe ends with the process, prctl's parent-death signal with the thread that started the rank.
"""

import os
import signal
import threading


def hold() -> None:
    """Watches from now on; the whole process group is killed, so no worker of a data loader stays behind."""
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)
