"""Environments of rivals, each of its own under the cache folder, made once by pip. Used by flower.py and fold_peers.py.

They are no dependency of anything: neither the wheel's nor the development environment's.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path


def python(name: str, version: str, *requirements: str) -> Path:
    """The interpreter of the environment that has these packages."""
    cache = Path(os.environ.get("FEDLOOM_CACHE", Path.home() / ".cache" / "fedloom"))
    home = cache / name / f"{version}-py{sys.version_info.major}{sys.version_info.minor}"
    found = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"   installing {' '.join(requirements)} into {home} (once)", flush=True)
        venv.create(home, with_pip=True, clear=True)
        pip = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True)
        (home / "complete").touch()
    return found
