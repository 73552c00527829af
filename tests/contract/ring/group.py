"""Real ranks for the ring's contract suite: starts them, speaks to them over pipes, ends them."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from fedtrainer.ring.slot import Slot
from tests.ports import free_port
from tests.waiting import PATIENCE_S

HERE = "127.0.0.1"


class RankGroup:
    """All ranks of a ring. `workers` pods with `size / workers` ranks each."""

    def __init__(self, size, workers=None, env=None, here=HERE, **slot):
        workers = workers or size
        common = Slot(size=size, local_size=size // workers, addresses=(here,) * workers, **slot)
        common = replace(common, store_port=free_port())
        self.on_device = common.accelerator != "CPU"
        self.ranks = [
            _Process(replace(common, rank=r, local_rank=r % common.local_size, worker=r // common.local_size), env)
            for r in range(size)
        ]
        self._threads = ThreadPoolExecutor(size)
        assert list(self._threads.map(_Process.answer, self.ranks)) == [{"result": "loaded"}] * size
        for rank in self.ranks:
            rank.begin()

    def started(self):
        """What each rank says first."""
        return list(self._threads.map(_Process.answer, self.ranks))

    def results(self, name, *arguments, ranks=None):
        """One command at all ranks (or those); their results."""
        answers = self.answers(name, *arguments, ranks=ranks)
        assert all("result" in answer for answer in answers), answers
        return [answer["result"] for answer in answers]

    def answers(self, name, *arguments, ranks=None):
        chosen = self.ranks if ranks is None else [self.ranks[r] for r in ranks]
        return list(self._threads.map(lambda rank: rank.ask(name, *arguments), chosen))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for rank in self.ranks:
            rank.end()
        self._threads.shutdown()


class _Process:
    def __init__(self, slot, env):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.contract.ring.rank", json.dumps(asdict(slot))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | (env or {}),
        )

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def say(self, name, *arguments):
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()

    def ask(self, name, *arguments):
        self.say(name, *arguments)
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "ended", "message": f"exit code {self.process.wait()}"}

    def exit_code(self):
        return self.process.wait(PATIENCE_S)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
