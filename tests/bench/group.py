"""Processes that begin each repetition together, and how long until the last is done. Used by the bare measurements."""

import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

SPAWN = get_context("spawn")
WAIT_S = 60.0


def timed(target: Callable[..., None], count: int, repeats: int, *args: Any) -> list[float]:
    """Seconds of each repetition. `target(barrier, repeats, *args)` waits at the barrier before and after each."""
    barrier = SPAWN.Barrier(count + 1)
    group = [SPAWN.Process(target=target, args=(barrier, repeats, *args), daemon=True) for _ in range(count)]
    for process in group:
        process.start()
    try:
        return [_one(barrier) for _ in range(repeats)]
    finally:
        for process in group:
            process.join(5)
            process.kill()


def _one(barrier: Barrier) -> float:
    barrier.wait(WAIT_S)
    started = time.monotonic()
    barrier.wait(WAIT_S)
    return time.monotonic() - started


def serving(target: Callable[..., None], folder: Path) -> tuple[Any, int]:
    """Starts `target(folder, connection)` as a process; the process, and the port that it sends back."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(folder, there), daemon=True)
    process.start()
    if not here.poll(WAIT_S):
        process.kill()
        raise RuntimeError("the bare server did not start")
    return process, here.recv()
