"""`fedloom WORD…` as tests run it: in a fork of a preloaded process, where imports cost nothing. Used by all rings.

Where its environment asks for other libraries than those that are loaded, it is a program of its own.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from fedlocal.processes import libraries_alike
from tests import preforked
from tests.preloaded import Program


def started(
    *words: object, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, errors: Path | None = None
) -> Program | subprocess.Popen[str]:
    """What it prints is in `log`, and in `errors` what it prints there, if that is given. What a run starts is forked, too."""
    arguments, env, cwd = [str(word) for word in words], dict(os.environ if env is None else env), cwd or Path.cwd()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()  # whoever looks before it has begun finds nothing in it
    if libraries_alike(env):
        runs = arguments[0] == "run"
        begin = partial(preforked.begin, preforked.search_path(), preforked.NAMES if runs else ())
        return Program("fedcli", *arguments, env=env, cwd=cwd, log=log, errors=errors, begin=begin)
    with log.open("ab") as output, (errors or log).open("ab") as told:
        command = [sys.executable, "-m", "fedcli", *arguments]
        process = subprocess.Popen(command, env=env, cwd=cwd, stdout=output, stderr=told)
    process.log = log
    return process


def fedloom(
    *words: object, env: Mapping[str, str] | None = None, cwd: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Once it has ended. With `check` it has to succeed."""
    with tempfile.TemporaryDirectory() as folder:
        log, errors = Path(folder) / "output", Path(folder) / "errors"
        process = started(*words, log=log, env=env, cwd=cwd, errors=errors)
        code = process.wait()
        done = subprocess.CompletedProcess(["fedloom", *words], code, log.read_text(), errors.read_text())
    assert not (check and code), f"{done.args}: {code}\n{done.stdout}{done.stderr}"
    return done
