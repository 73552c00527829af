"""Processes forked from one that has imported torch, the trainer and the aggregator: imports cost seconds of processor time.

Used by the contract suite of the rings, by the tests of sessions over ranks and of the programs of sites and hub. What is
preloaded may start neither a thread nor a library's runtime, which a fork would not survive: no Horovod, no XLA.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from fedlocal import child

forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(
    [
        "torch._dynamo",  # every optimizer loads it at its first step
        "fedaggregator.adapters.presigned",
        "fedaggregator.engine.engine",
        "fedaggregator.handin",
        "fedaggregator.http.app",
        "fedaggregator.http.server",
        "fedaggregator.queued.running",
        "fedaggregator.requests.sites",
        "fedbackup.evaluating",
        "fedbackup.restore",
        "fedbackup.verify",
        "fedcli.commands",
        "fedtrainer.agent.work",
        "fedtrainer.agent.follow",
        "fedtrainer.ring.torchdist",
        "fedtrainer.training.dpsgd.private",
        "fedtrainer.training.dpsgd.steps",
        "tests.contract.fedtrainer.rank",
        "tests.preforked",
        "tests.unit.fedtrainer.training.ring_ranks",
    ]
)


class Program:
    """`python -m PROGRAM ARGUMENTS`, or of a file of that path, as subprocess.Popen has it. Its standard input stays open until `close`.

    It is no member of the tests' process group, which an interrupt goes to: it is killed when the process of this object ends.
    """

    def __init__(
        self,
        program: str,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        errors: Path | None = None,
        begin: Callable[[], None] | None = None,
    ) -> None:
        """`errors`: of its standard error, if that is not for the log. `begin` is called in the fork while it has no thread."""
        self.log = log
        theirs, self._stdin = forked.Pipe(duplex=False)
        watched, self._alive = forked.Pipe(duplex=False)
        given = (theirs, watched, (program, *arguments), dict(env), str(cwd), str(log), str(errors or log), begin)
        self._process = forked.Process(target=_run, args=given)
        self._process.start()
        self._asking = threading.Lock()  # of two threads that ask for its end at once, one would read no exit code
        theirs.close()
        watched.close()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        with self._asking:
            return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        wait_for([self._process.sentinel], timeout_s)
        if (code := self.returncode) is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout_s or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Closes its standard input."""
        self._stdin.close()


def _run(
    stdin: Connection,
    watched: Connection,
    words: tuple[str, ...],
    env: dict[str, str],
    cwd: str,
    log: str,
    errors: str,
    begin: Callable[[], None] | None,
) -> None:
    """The program, in a fork that is what a process of its own would be: a session, files, an environment, a path."""
    os.setsid()
    if begin:
        begin()
    child.die_with(watched.fileno())
    os.dup2(stdin.fileno(), 0)
    stdin.close()
    child.take_over(errors, cwd, env)
    with Path(log).open("ab") as output:
        os.dup2(output.fileno(), 1)
    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv[1:] = words[1:]
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
