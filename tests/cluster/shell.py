"""Runs a program to its end and says clearly when it fails.

Used by all modules that call tools (ip, openssl, go, buildah). Long-running processes belong to
`processes`. No shell is ever involved: a command is a list of words.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import CannotRunError, ClusterError

_TRIES, _PAUSE_S = 3, 10.0
# Debian keeps iptables, ip and debootstrap in sbin, which a non-root PATH often lacks.
_PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"


def say(text: str) -> None:
    """One line of progress, on stderr: stdout is for answers (paths)."""
    sys.stderr.write(f"cluster: {text}\n")
    sys.stderr.flush()


def find(program: str) -> str | None:
    return shutil.which(program, path=_PATH)


def need(program: str) -> str:
    path = find(program)
    if path is None:
        msg = f"{program} is not installed; run `python3 -m tests.cluster tools` as root on Debian or Ubuntu"
        raise CannotRunError(msg)
    return path


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    stdin: str | None = None,
) -> str:
    """The program's stdout. With `log`, both streams go to that file instead and "" is returned."""
    words = [need(str(command[0])), *map(str, command[1:])]
    full_env = {**os.environ, "PATH": _PATH, **(env or {})}
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            code = subprocess.run(words, env=full_env, cwd=cwd, stdout=sink, stderr=sink, check=False).returncode
        if code:
            msg = f"{' '.join(words[:3])} … failed with {code}; its output is in {log}"
            raise ClusterError(msg)
        return ""
    done = subprocess.run(words, env=full_env, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(words)} failed with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}"
        raise ClusterError(msg)
    return done.stdout


def downloaded(act: Callable[[], object]) -> None:
    """Does what downloads and may be done again: a server that answers 5xx, or cuts a connection, mostly does so once."""
    for left in reversed(range(_TRIES)):
        try:
            act()
        except CannotRunError:
            raise
        except ClusterError as error:
            if not left:
                raise
            say(f"{error}; once more in {_PAUSE_S:.0f} s")
            time.sleep(_PAUSE_S)
        else:
            return


def attempt(*command: str | Path) -> bool:
    """Runs a clean-up step whose object may be gone already; true when it succeeded."""
    try:
        run(*command)
    except ClusterError:
        return False
    return True


def lines(command: Sequence[str | Path]) -> list[str]:
    """The stdout lines of a command, empty when it fails."""
    try:
        return run(*command).splitlines()
    except ClusterError:
        return []
