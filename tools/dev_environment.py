"""Makes the development environment: one cached virtual environment with the dependencies, a thin one here.

`make install` runs this with the system's Python (standard library only). Torch's wheel is several gigabytes, so
third-party packages live once under the user's cache folder, keyed by what they were made from; .venv in the
checkout only points to them and holds the editable install of Fedloom itself.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

try:
    import tomllib
except ImportError:
    sys.exit(
        f"Fedloom needs Python 3.11 or newer, this is {sys.version.split()[0]}: run make with PYTHON=/path/to/python3.11"
    )

ROOT = Path(__file__).resolve().parent.parent
BUILT_FROM = (
    "pyproject.toml",
    "tools/kernels_hook.py",
    "operator/fedcore/tensors/kernels.c",
)  # by the editable install
sys.path[:0] = [str(ROOT), str(ROOT / "images" / "trainer")]

import horovod_wheel  # noqa: E402 - a script of the trainer's image, standard library only

from tests.cluster import packages, shell  # noqa: E402 - standard library only
from tests.cluster.errors import CannotRunError, ClusterError  # noqa: E402


def requirements() -> list[str]:
    """Every third-party requirement of every extra and of development, from pyproject.toml; Horovod is built here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    groups.append(project["dependency-groups"]["dev"])
    return sorted({entry for group in groups for entry in group if not entry.startswith(("fedloom", "horovod"))})


def dependencies_venv() -> Path:
    """The cached environment that fits pyproject.toml and constraints.txt; made when it is not there."""
    constraints = ROOT / "constraints.txt"
    wanted = requirements()
    made_from = [sys.version, *wanted, constraints.read_text(), horovod_wheel.made_from()]
    key = hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:12]
    home = horovod_wheel.cache_root() / "venv" / key
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two checkouts share it: the second waits for the first
        if not (home / "complete").exists():
            _install(home, constraints, wanted)
    return home


def _install(home: Path, constraints: Path, wanted: list[str]) -> None:
    print(f"installing dependencies into {home} (several GB, once)", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    environment = os.environ | {"PIP_CACHE_DIR": str(horovod_wheel.cache_root() / "pip")}
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--constraint", str(constraints)]
    shell.downloaded(lambda: shell.run(*pip, *wanted, env=environment))
    shell.run(*pip, horovod(home / "bin" / "python"), env=environment)
    (home / "complete").touch()


def horovod(python: Path) -> Path:
    """The wheel that fits this environment's torch; a machine without a compiler gets one, or is told to."""
    if not list(horovod_wheel.cached(python).glob("horovod-*.whl")):
        try:
            packages.install({"g++": "g++", "make": "make", "python3-dev": str(horovod_wheel.header(python))})
        except CannotRunError as error:
            sys.exit(str(error))
    made: list[Path] = []
    shell.downloaded(lambda: made.append(_wheel(python)))
    return made[-1]


def _wheel(python: Path) -> Path:
    """Most of what can go wrong is a download."""
    try:
        return horovod_wheel.wheel(python)
    except SystemExit as error:
        raise ClusterError(str(error)) from error


def main() -> None:
    """Makes .venv fit the checkout; quick when it does already."""
    dependencies = dependencies_venv()
    here = ROOT / ".venv"
    stamp = here / "made-from"
    built_from = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in BUILT_FROM)).hexdigest()
    mark = f"{dependencies}\n{built_from}\n{ROOT}\n"
    if stamp.exists() and stamp.read_text() == mark:
        return
    venv.create(here, with_pip=True, clear=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(here), "platbase": str(here)}))
    shared = Path(
        sysconfig.get_path("purelib", "venv", vars={"base": str(dependencies), "platbase": str(dependencies)})
    )
    (site / "fedloom_dependencies.pth").write_text(f"{shared}\n")
    pip = [str(here / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], check=True)
    for tool in ("ruff", "mypy", "lint-imports", "pytest"):
        link = here / "bin" / tool
        link.unlink(missing_ok=True)
        if tool == "ruff":
            link.symlink_to(dependencies / "bin" / tool)
        else:
            module = {
                "lint-imports": "importlinter.cli:lint_imports_command",
                "mypy": "mypy.__main__:console_entry",
                "pytest": "pytest:console_main",
            }[tool]
            name, attribute = module.split(":")
            link.write_text(
                f"#!{here / 'bin' / 'python'}\nimport sys\nfrom {name} import {attribute}\n"
                f"if __name__ == '__main__':\n    sys.exit({attribute}())\n"  # multiprocessing imports it once more
            )
            link.chmod(0o755)
    stamp.write_text(mark)


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        sys.exit(str(error))
