"""A Python for arm64 on this machine, emulated by qemu: Debian's, with numpy's own wheels for arm64, in the cache folder.

Used by test_fold_on_arm64.py. Nothing of the machine's own packages changes but for what apt installs: an emulator and a
cross compiler. Emulated is every instruction of Python, numpy and Fedloom's library.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import packages
from tests.cluster.paths import cache_root
from tools import kernels_hook

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {
    "qemu-user-static": "qemu-aarch64-static",
    "gcc-aarch64-linux-gnu": "aarch64-linux-gnu-gcc",
    "libc6-dev-arm64-cross": "/usr/aarch64-linux-gnu/include/stdint.h",
}
PYTHON = "3.11"  # Debian's, whatever this one is
DEBS = (
    f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libc6", "libgcc-s1",
    "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libuuid1",
)  # fmt: skip
WHEELS = ("numpy", "pydantic", "rfc8785", "pyyaml")


def run(script: Path, folder: Path) -> str:
    """What a script prints that imports fedcore and fedapi, the compiled loops included. `folder`: an empty one."""
    packages.install(TOOLS)
    home = _home()
    for name in ("fedcore", "fedapi"):
        shutil.copytree(
            ROOT / "operator" / name, folder / name, ignore=shutil.ignore_patterns("_kernels.*", "__pycache__")
        )
    source, library = (
        folder / kernels_hook.FOLDER.relative_to("operator") / name for name in ("kernels.c", "_kernels.so")
    )
    _done("aarch64-linux-gnu-gcc", *kernels_hook.FLAGS, "-o", library, source)
    paths = {"PYTHONHOME": str(home / "root" / "usr"), "PYTHONPATH": f"{folder}:{home / 'site'}"}
    python = home / "root" / "usr" / "bin" / f"python{PYTHON}"
    return _done("qemu-aarch64-static", "-L", home / "root", python, script, env=paths | {"PATH": os.environ["PATH"]})


def _home() -> Path:
    """The folder with Python and the wheels, made once."""
    pins = (ROOT / "constraints.txt").read_text()
    home = cache_root() / "arm64" / hashlib.sha256(repr((DEBS, WHEELS, pins)).encode()).hexdigest()[:12]
    if (home / "complete").exists():
        return home
    shutil.rmtree(home, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial", "debs"):
        (home / name).mkdir(parents=True)
    (home / "status").touch()
    options = {
        "Dir::State": home / "state",
        "Dir::State::status": home / "status",
        "Dir::Cache": home / "cache",
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    _done(*apt, "update")
    _done(*apt, "download", *DEBS, cwd=home / "debs")
    for deb in (home / "debs").glob("*.deb"):
        _done("dpkg", "-x", deb, home / "root")
    platforms = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
    wanted = [word for platform in platforms for word in ("--platform", platform)]
    wanted += [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    pins_file = ROOT / "constraints.txt"
    _done(*pip, "--python-version", PYTHON, *wanted, "-c", pins_file, "--target", home / "site", *WHEELS)
    (home / "complete").touch()
    return home


def _done(*words: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
