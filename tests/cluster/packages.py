"""Debian packages: which are missing, and their installation, one process of this machine at a time.

Called by `tools` for the cluster's parts and by tools/dev_environment.py for a compiler, which may run side by side;
by tests for an example's data.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import state
from tests.cluster.errors import CannotRunError
from tests.cluster.paths import cache_root
from tests.cluster.shell import downloaded, find, run, say

_LOCK_S = 600


def missing(wanted: Mapping[str, str]) -> list[str]:
    """Packages whose program or file is not there."""
    return [package for package, shows in wanted.items() if find(shows) is None and not Path(shows).exists()]


def install(wanted: Mapping[str, str]) -> None:
    """Package -> a program or a file that shows that it is there. Needs root and apt where one is missing."""
    if not missing(wanted):
        return
    if os.geteuid() != 0 or find("apt-get") is None:
        raise CannotRunError(f"missing: install these packages as root: {' '.join(missing(wanted))}")
    with state.locked("apt"):
        lacks = missing(wanted)
        say(f"installing {' '.join(lacks)}")
        log = cache_root() / "log" / "apt.log"
        env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        # a new machine's own updates may be under way
        apt = ("apt-get", "-y", f"--option=DPkg::Lock::Timeout={_LOCK_S}", "--no-install-recommends")

        def install_them() -> None:
            run(*apt, "update", env=env, log=log)
            run(*apt, "install", *lacks, env=env, log=log)

        downloaded(install_them)
