"""Real ranks for the ring's contract suite: starts them, speaks to them over pipes, ends them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fedtrainer.ring.slot import Slot
from tests.contract.fedtrainer import rank
from tests.ports import free_port
from tests.preloaded import forked
from tests.waiting import PATIENCE_S

HERE = "127.0.0.1"


class RankGroup:
    """All ranks of a ring. `workers` pods with `size / workers` ranks each. Values of `env` may name {rank}."""

    def __init__(self, size, workers=None, env=None, here=HERE, **slot):
        workers = workers or size
        common = Slot(size=size, local_size=size // workers, addresses=(here,) * workers, **slot)
        common = replace(common, store_port=free_port())
        self.on_chips = common.accelerator == "TPU"
        self.ranks = [
            _Process(replace(common, rank=r, local_rank=r % common.local_size, worker=r // common.local_size), env)
            for r in range(size)
        ]
        self._threads = ThreadPoolExecutor(size)
        assert list(self._threads.map(_Process.answer, self.ranks)) == [{"result": "loaded"}] * size
        for each in self.ranks:
            each.begin()

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
        return list(self._threads.map(lambda each: each.ask(name, *arguments), chosen))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self.ranks:
            each.end()
        self._threads.shutdown()


class _Process:
    def __init__(self, slot, env):
        self.pipe, theirs = forked.Pipe()
        own = {name: value.format(rank=slot.rank) for name, value in (env or {}).items()}
        self.process = forked.Process(target=rank.main, args=(slot, own, theirs))
        self.process.start()
        theirs.close()

    def begin(self):
        self.pipe.send("begin")

    def say(self, name, *arguments):
        self.pipe.send((name, arguments))

    def ask(self, name, *arguments):
        self.say(name, *arguments)
        return self.answer()

    def answer(self):
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return {"error": "ended", "message": f"exit code {self.exit_code()}"}

    def exit_code(self):
        self.process.join(PATIENCE_S)
        return self.process.exitcode

    def end(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()
