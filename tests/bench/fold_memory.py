"""Memory that a process needs to fold a round of 25 M float32: its peak (VmHWM), Python, numpy and all. Used by fold_rss_mib_…."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

from tests.bench import group
from tests.bench.fold_round import Round
from tests.bench.process import mib

CONTENTS = 20
_WAIT_S = 900.0


def peak_mib(folder: Path, updates: int) -> float:
    """Of a process that receives the updates and folds them."""
    here, there = group.SPAWN.Pipe()
    process = group.SPAWN.Process(target=_act, args=(folder, updates, there), daemon=True)
    process.start()
    try:
        if not here.poll(_WAIT_S):
            raise RuntimeError("the fold did not end")
        before, after = here.recv()
    finally:
        process.kill()
        process.join()
    print(f"   {before:.0f} MiB when the updates are there, {after:.0f} MiB when they are folded")
    return after


def _act(folder: Path, updates: int, told: Connection) -> None:
    round_ = Round.made(folder, updates, min(updates, CONTENTS))
    before = mib(os.getpid(), "VmHWM")
    round_.fold()
    told.send((before, mib(os.getpid(), "VmHWM")))
