"""Ranks for the ring benchmarks, which stand still (SIGSTOP) while others are measured. Used by the ring_ cases."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from fedtrainer.ring.slot import Slot
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]


class RankGroup:
    """All ranks of one ring, one thread each. Awake only while it is asked something."""

    def __init__(self, mode: str, size: int, stack: ExitStack, env: dict[str, str] | None = None, **slot: str) -> None:
        first = Slot(size=size, addresses=("127.0.0.1",) * size, store_port=free_ports(1)[0], **slot)
        self._ranks = [_start(mode, replace(first, rank=rank, worker=rank), env or {}) for rank in range(size)]
        stack.callback(self._end)
        for rank in self._ranks:
            _answer(rank)
        self._signal(signal.SIGSTOP)

    def ask(self, name: str, *arguments: object) -> list:
        """One command at all ranks, which are awake meanwhile; their answers."""
        self._signal(signal.SIGCONT)
        try:
            for rank in self._ranks:
                rank.stdin.write(json.dumps([name, arguments]) + "\n")
                rank.stdin.flush()
            return [_answer(rank) for rank in self._ranks]
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        for rank in self._ranks:
            os.kill(rank.pid, number)

    def _end(self) -> None:
        for rank in self._ranks:
            rank.kill()
            rank.wait()


def _start(mode: str, slot: Slot, env: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.ring_worker", mode, json.dumps(asdict(slot))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
    )


def _answer(rank: subprocess.Popen) -> object:
    line = rank.stdout.readline()
    if not line:
        raise RuntimeError(f"a rank of the benchmark ended with code {rank.wait()}")
    return json.loads(line)
