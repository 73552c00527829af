"""Somebody's package with a strategy, `halved`: as a wheel, and as installed. Used by tests of `fedloom run` and of a cluster."""

import contextlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


def wheel(folder: Path) -> Path:
    """The package with the strategy built into a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=Path(__file__).parent / "package", check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@contextlib.contextmanager
def installed(folder: Path):
    """That package, as pip leaves it: the runner's search path is its aggregators', too."""
    packages = folder / "packages"
    with zipfile.ZipFile(wheel(folder)) as archive:
        archive.extractall(packages)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(packages))
        yield
