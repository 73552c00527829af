"""The programs of real object stores and queues: built from Go modules, from npm, or Debian's. Made once for a machine.

`install` makes them, the starters beside this module ask `binary()`. Versions live in versions/; the folder of what was
made is keyed by its file there, so a new version never meets an old program. Needs no package installed.
"""

import hashlib
import os
import shutil
from pathlib import Path

from tests.cluster import packages, state, tools
from tests.cluster.errors import CannotRunError
from tests.cluster.paths import cache_root
from tests.cluster.shell import downloaded, run, say

VERSIONS = Path(__file__).resolve().parent / "versions"
GO = ("weed", "minio", "fake-gcs-server")
AZURITE = "azurite-blob"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PACKAGES = {"rabbitmq-server": str(RABBITMQ), "nodejs": "node", "npm": "npm"}  # each with what shows that it is there


def binary(program: str) -> Path:
    """Where a program of GO, or azurite-blob, is; CannotRunError when it was not made."""
    found = _path(program)
    if not found.exists():
        raise CannotRunError(f"missing: {program}; run `make store-tools` first")
    return found


def install() -> None:
    """Makes what is missing. Minutes, one process of this machine at a time."""
    packages.install(PACKAGES)
    with state.locked("store-tools"):
        for program in GO:
            if not _path(program).exists():
                _build(program)
        if not _path(AZURITE).exists():
            _install_azurite()
    say(f"servers are in {', '.join(str(_path(program)) for program in (*GO, AZURITE))}")


def _path(program: str) -> Path:
    if program == AZURITE:
        return _folder("azurite", ".package-lock.json") / "node_modules" / ".bin" / program
    return _folder(program, ".go.mod") / "bin" / program


def _folder(name: str, versions: str) -> Path:
    digest = hashlib.sha256((VERSIONS / f"{name}{versions}").read_bytes()).hexdigest()[:8]
    return cache_root() / "tools" / f"{name}-{digest}"


def _build(program: str) -> None:
    say(f"building {program} (minutes, once)")
    folder = _folder(program, ".go.mod")
    source = folder / "src"
    source.mkdir(parents=True, exist_ok=True)
    for name in ("go.mod", "go.sum"):
        shutil.copy(VERSIONS / f"{program}.{name}", source / name)
    env = {"CGO_ENABLED": "0", "GOBIN": str(folder / "bin"), "GOFLAGS": "-buildvcs=false"}
    flags = ("-trimpath", "-ldflags", "-s -w")
    go = tools.go()
    downloaded(lambda: run(go, "install", *flags, "tool", cwd=source, env=env, log=folder / "build.log"))


def _install_azurite() -> None:
    say("installing azurite (a minute, once)")
    folder = _folder("azurite", ".package-lock.json")
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(VERSIONS / f"azurite.{name}", part / name)
        npm = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        downloaded(lambda: run(*npm, cwd=part, log=cache_root() / "log" / "npm.log"))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
