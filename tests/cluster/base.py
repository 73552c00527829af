"""The base image where no image registry is reached: Debian's minimal system with Python, by debootstrap.

Called by `builder`. Made once per release and kept in the cache; users' images begin at python:3.11-slim.
"""

import shutil
import tarfile
from pathlib import Path

from tests.cluster.paths import cache_root
from tests.cluster.shell import downloaded, run, say

RELEASE = "bookworm"
PYTHON = (3, 11)  # of this release, as its C library: what a wheel built on this machine has to fit
LIBC = (2, 36)
NAME = f"localhost/fedloom-base:{RELEASE}"
_INCLUDE = "ca-certificates,python3,python3-venv"
# Nothing reads these in a container.
_DROP = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/info",
         "usr/share/locale", "usr/share/i18n")  # fmt: skip


def context() -> Path:
    """A folder with the system as one tar and the Dockerfile that unpacks it."""
    folder = cache_root() / "base" / RELEASE
    archive = folder / "root.tar"
    if not archive.exists():
        say("making the base image's system with debootstrap (a minute)")
        system = folder / "system"
        system.parent.mkdir(parents=True, exist_ok=True)
        words = ("--variant=minbase", f"--include={_INCLUDE}", RELEASE, system)

        def make() -> None:
            shutil.rmtree(system, ignore_errors=True)
            run("debootstrap", *words, log=folder / "debootstrap.log")

        downloaded(make)
        for each in _DROP:
            shutil.rmtree(system / each, ignore_errors=True)
            (system / each).mkdir()
        part = folder / "root.part"
        with tarfile.open(part, "w") as tar:
            tar.add(system, arcname=".")
        shutil.rmtree(system)
        part.replace(archive)
    (folder / "Dockerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["/bin/sh"]\n')
    return folder
