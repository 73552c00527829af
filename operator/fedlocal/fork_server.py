"""A process that imports torch once and forks a trainer whenever it is asked: a site starts in milliseconds.

`python -m fedlocal.fork_server WATCH_FD SOCKET_FD [MODULE…]`, started by fork_client.py, Linux only; the modules are what
this job's trainings need beside what all need. It stays single-threaded and never uses torch itself, so that its forks
are as good as new. One JSON object per line in both directions.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterable, Sequence

from fedapi.jsonvalue import Json
from fedlocal import child

NEEDED = ("torch", "numpy.random", "safetensors.torch")
# Parts of the trainer whose libraries only sites of several ranks need (httpx: 0.17 s), which load them themselves, or
# only jobs with DP-SGD (Opacus: 1.2 s), whose runner names what they need.
SOME = ("fedtrainer.ring.horovod", "fedtrainer.ring.xla", "fedtrainer.launch", "fedtrainer.training.dpsgd.")
LATER = ("torch._dynamo",)  # every optimizer loads it at its first step: seconds, but the init step needs none


def preload(names: Iterable[str]) -> None:
    """Imports modules. One that does not import is left for the trainer to report."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def preload_trainer() -> None:
    """Imports all of fedtrainer but its entry point and what is not for every rank."""
    with contextlib.suppress(ImportError):
        package = importlib.import_module("fedtrainer")
        for module in pkgutil.walk_packages(package.__path__, "fedtrainer."):
            if not module.name.endswith("__main__") and not module.name.startswith(SOME):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module.name)


def serve(watched: int, control: socket.socket, later: Sequence[str]) -> None:
    """Forks for each request and reports each end, until the runner is gone. Trainings need the modules for later."""
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    lifeline = os.pipe()  # whoever is forked dies with this process: nobody would reap or know it
    running: dict[int, int] = {}
    pending, idle = b"", False
    while True:
        readable, _, _ = select.select([control.fileno(), waking], [], [], 0.0 if idle else None)
        if not readable:
            preload(later)
            idle = False
        if waking in readable:
            os.read(waking, 4096)
            _report(control, running)
            idle = not running and later[0] not in sys.modules  # the init step is over, its end is told
        if control.fileno() in readable:
            data = control.recv(65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if request["args"][:1] != ["init"]:
                    preload(later)
                pid = _fork(request, (watched, lifeline[0]), control, (waking, woken, lifeline[1]))
                with contextlib.suppress(OSError):  # it leads its own group before anybody hears of it
                    os.setpgid(pid, pid)
                running[pid] = request["id"]
                _send(control, {"id": request["id"], "pid": pid})


def _report(control: socket.socket, running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _send(control, {"id": running.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _send(control: socket.socket, message: Json) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _fork(request: Json, watched: tuple[int, ...], control: socket.socket, ours: tuple[int, ...]) -> int:
    sys.stdout.flush()
    gc.freeze()  # the collector leaves alone what is shared: its pages stay shared
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _detach(request, watched, control, ours)
        child.run(request["module"], request["args"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 - the interpreter prints it and exits with 1: so does this
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _detach(request: Json, watched: tuple[int, ...], control: socket.socket, ours: tuple[int, ...]) -> None:
    """Makes the fork look like a process of its own."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    control.close()
    for descriptor in ours:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    child.take_over(request["log"], request["cwd"], request["env"])
    paths = [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    child.die_with(*watched)


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[2]))
    preload(NEEDED)
    preload_trainer()
    serve(int(sys.argv[1]), control, (*LATER, *sys.argv[3:]))


if __name__ == "__main__":
    main()
