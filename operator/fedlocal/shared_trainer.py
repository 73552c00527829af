"""A process that does orders of many sites, one after the other, and for each looks like a process of that site's own.

`python -m fedlocal.shared_trainer NUMBER`, started by trainer_pool.py in the folder of its socket. One JSON object per
line in both directions. When a site's order goes wrong it ends with that site's exit code, as the site's own process
would: what such an order has left behind meets no other site.
"""

import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from fedlocal import child
from fedlocal.trainer_pool import SOCKET
from fedtrainer.agent.shared import Served, SharedTrainer


def main() -> None:
    """Entry point."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(SOCKET)
        with link.makefile("rb") as orders:
            _tell(link, {"number": int(sys.argv[1])})
            trainer = SharedTrainer()
            for line in orders:
                order = json.loads(line)
                _flush()
                child.take_over(order["log"], order["cwd"], order["env"])
                served = trainer.serve(order["answer"])
                if served.code:
                    _leave(served)
                _tell(link, {"finished": served.finished, "worn": served.worn})


def _flush() -> None:
    with suppress(OSError, ValueError):  # a task may have closed them
        sys.stdout.flush()
        sys.stderr.flush()


def _tell(link: socket.socket, message: dict[str, Any]) -> None:
    link.sendall(json.dumps(message).encode() + b"\n")


def _leave(served: Served) -> None:
    _flush()
    os._exit(served.code)  # threads of the task must not hold the process


if __name__ == "__main__":
    main()
