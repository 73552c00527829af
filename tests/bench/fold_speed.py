"""How fast 20 updates of 25 M float32 are folded, beside BLAS, NVFLARE and Flower. Used by the rows fold_memory_… and fold_files_….

All take turns on the same numbers, so that all meet the same machine; of each the best turn counts. A figure is bytes of
updates over seconds. The bound is BLAS saxpy (the OpenBLAS that numpy brings), one pass over each update into one sum of
25 M items, with one thread and with as many as the fold has: the better of the two.
"""

import contextlib
import ctypes
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fedaggregator.engine import blocks, folding, spanwise
from fedcore.tensors import arithmetic
from fedcore.tensors.arithmetic import Accumulator
from tests.bench import environments, flower, group
from tests.bench.fold_round import ITEMS, Round, table

UPDATES, TURNS = 20, 7
NVFLARE = "2.9.0"
THREADS = blocks._THREADS
_PEERS = Path(__file__).parent / "peers"
_WAIT_S = 600.0
_GB = UPDATES * 4 * ITEMS / 1e9
_SPAN = folding._SUMMED_BYTES // 4  # items, as the engine's blocks

Array = Any


@dataclass(frozen=True)
class FoldSpeed:
    """GB of updates per second."""

    memory: float  # weighted sum of arrays
    files: float  # of files in the page cache, verified, to the blocks of the next model
    axpy: float
    nvflare: float
    flower: float


def measured(folder: Path) -> FoldSpeed:
    """Makes the round, starts the rivals, takes turns."""
    best: dict[str, float] = {}
    with _ours(folder) as ours, contextlib.ExitStack() as stack:
        files = ours("files of the updates")
        nvflare = environments.python("nvflare", NVFLARE, f"nvflare=={NVFLARE}")
        rivals = {
            "nvflare": stack.enter_context(_rival(nvflare, "nvflare_fold.py", files)),
            "flower": stack.enter_context(_rival(flower.python(), "flower_fold.py", files)),
        }
        for _ in range(TURNS):
            for name in (f"axpy, {THREADS} threads", "axpy, 1 thread", "memory", "files", "whole"):
                best[name] = min(ours(name), best.get(name, _WAIT_S))
            for name, rival in rivals.items():
                best[name] = min(rival(ours("figure")), best.get(name, _WAIT_S))
    found = {name: _GB / seconds for name, seconds in best.items()}
    print("   GB/s:", ", ".join(f"{name} {speed:.2f}" for name, speed in found.items()))
    print(
        f"   the fold has {THREADS} threads, NVFLARE and Flower 1; whole: the model is written, hashed and synced, too"
    )
    axpy = max(speed for name, speed in found.items() if name.startswith("axpy"))
    return FoldSpeed(found["memory"], found["files"], axpy, found["nvflare"], found["flower"])


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[Callable[[str], Any]]:
    """A process of its own that does what it is told."""
    here, there = group.SPAWN.Pipe()
    process = group.SPAWN.Process(target=_act, args=(folder, there), daemon=True)
    process.start()

    def asked(what: str) -> Any:
        here.send(what)
        if not here.poll(_WAIT_S):
            raise RuntimeError(f"no answer to {what!r}")
        return here.recv()

    try:
        yield asked
    finally:
        process.kill()
        process.join()


def _act(folder: Path, orders: Connection) -> None:
    """Answers seconds, or what else was asked for."""
    round_ = Round.made(folder, UPDATES, UPDATES)
    skip = len(table()[0])
    updates = [np.fromfile(path, np.float32, offset=skip) for path in round_.files]
    total = np.zeros(ITEMS, np.float32)
    _check(round_, updates, total)
    work: dict[str, Callable[[], Any]] = {
        f"axpy, {THREADS} threads": lambda: _axpy(updates, round_.weights, total, THREADS),
        "axpy, 1 thread": lambda: _axpy(updates, round_.weights, total, 1),
        "memory": lambda: _summed(updates, round_.weights, total),
        "files": lambda: [None for _ in round_.blocks()],
        "whole": round_.fold,
    }
    while True:
        what = orders.recv()
        if what == "files of the updates":
            orders.send(round_.files)
        elif what == "figure":
            orders.send(float(np.abs(total).sum(dtype=np.float64)) / ITEMS)
        else:
            started = perf_counter()
            work[what]()
            orders.send(perf_counter() - started)


def _check(round_: Round, updates: list[Array], total: Array) -> None:
    """Files and memory give the same bits."""
    _summed(updates, round_.weights, total)
    skip = len(table()[0])
    base, model = (
        np.fromfile(round_.folder / key, np.float32, offset=skip) for key in (round_.order.base.key, round_.fold().key)
    )
    if not np.array_equal(base + total, model):
        raise RuntimeError("the fold of files and that of memory differ")


def _summed(updates: list[Array], weights: list[float], total: Array) -> None:
    """What the engine does with blocks that it has read, in as many threads."""

    def work(index: int, product: Array) -> None:
        part = slice(index * _SPAN, min(ITEMS, (index + 1) * _SPAN))
        terms = ((weight, update[part]) for weight, update in zip(weights, updates, strict=True))
        arithmetic.weighted_sum(terms, Accumulator(total[part], product[: total[part].size]))

    rooms = [np.empty(_SPAN, np.float32) for _ in range(THREADS + 1)]
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in spanwise.computed(-(-ITEMS // _SPAN), work, rooms, threads):
            pass


def _axpy(updates: list[Array], weights: list[float], total: Array, threads: int) -> None:
    blas = _blas()
    blas.scipy_openblas_set_num_threads64_(threads)
    total.fill(0)
    for weight, update in zip(weights, updates, strict=True):
        blas.scipy_cblas_saxpy64_(ITEMS, weight, update.ctypes.data, 1, total.ctypes.data, 1)


def _blas() -> ctypes.CDLL:
    """The library that numpy multiplies matrices with."""
    found = [*(Path(np.__file__).parent.parent / "numpy.libs").glob("libscipy_openblas64*")]
    if len(found) != 1:
        raise RuntimeError("this numpy brings no OpenBLAS: no bound to measure against")
    blas = ctypes.CDLL(str(found[0]))
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    blas.scipy_cblas_saxpy64_.argtypes = [integer, ctypes.c_float, pointer, integer, pointer, integer]
    blas.scipy_cblas_saxpy64_.restype = None
    return blas


@contextlib.contextmanager
def _rival(python: Path, script: str, files: list[Path]) -> Iterator[Callable[[float], float]]:
    """A process that folds the same files' numbers; its figure must be ours."""
    process = subprocess.Popen(
        [str(python), str(_PEERS / script), *map(str, files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=flower.quiet(),
    )

    def asked(ours: float) -> float:
        process.stdin.write("\n")
        process.stdin.flush()
        seconds, figure = map(float, process.stdout.readline().split())
        if abs(figure / ours - 1) > 1e-4:
            raise RuntimeError(f"{script} finds {figure}, ours is {ours}")
        return seconds

    try:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{script} did not start")
        yield asked
    finally:
        process.kill()
        process.wait()
