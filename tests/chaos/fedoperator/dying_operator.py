"""The operator, killed by its own hand right after its n-th write (CRASH_AFTER): for every n, in a process each.

Run by test_kill_between_writes.py. Imports once and forks, because the imports take longer than the test.
"""

import asyncio
import os
import signal
import sys
import threading

from fedoperator.cluster.connection import Connection
from fedoperator.lifecycle import Operator
from fedoperator.settings import PREFIX, OperatorSettings

AT_ONCE = 4  # they wait more than they work, and each looks at its own namespace alone
FIRST_WRITE_WITHIN_S, QUIET_S = 120, 30  # one that has nothing left to write is at rest and ends


def die_after(writes: int) -> None:
    """Every write counts, Secrets and events too; reads do not."""
    lock, left = threading.Lock(), [writes]
    send = Connection.request

    def request(self, method, path, body=None, **options):
        with lock:  # one write at a time, so that the n-th is the last one that the API server sees
            if method == "GET":
                return send(self, method, path, body, **options)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = send(self, method, path, body, **options)
            left[0] -= 1
            signal.alarm(QUIET_S)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

    Connection.request = request


def main() -> None:
    """A namespace per line on standard input; the n-th one's operator dies after n writes. Says how each ended."""
    living: dict[int, str] = {}
    for count, namespace in enumerate(sys.stdin.read().split(), start=1):
        if len(living) == AT_ONCE:
            ended(living)
        living[born(count, namespace)] = namespace
    while living:
        ended(living)


def born(count: int, namespace: str) -> int:
    child = os.fork()
    if child == 0:
        os.environ[f"{PREFIX}WATCH_NAMESPACES"] = namespace
        die_after(count)
        signal.alarm(FIRST_WRITE_WITHIN_S)
        asyncio.run(Operator(OperatorSettings.from_environment()).run())
        os._exit(0)
    return child


def ended(living: dict[int, str]) -> None:
    child, status = os.wait()
    print(living.pop(child), os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
