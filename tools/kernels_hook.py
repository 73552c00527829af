"""Compiles fedcore/tensors/kernels.c when a wheel is built, for an editable install, too: hatchling's build hook.

A plain library without Python in it, loaded by fedcore/tensors/kernels.py: any C compiler does (CC, else cc), and one wheel
serves every Python of its platform. Where there is none, or CC names none, the wheel is the pure one it would be without
this: everything works, with the same bits, slower.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("operator", "fedcore", "tensors")
# Nothing may round twice, or not at all: no fused multiply-add, no -ffast-math.
FLAGS = ("-O3", "-ffp-contract=off", "-fPIC", "-shared")


def compiled(root: Path) -> Path | None:
    """The library, relative to the checkout; None where it cannot be made."""
    source, library = FOLDER / "kernels.c", FOLDER / "_kernels.so"
    part = library.with_suffix(".part")  # a process that starts meanwhile has the old one or the new one
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if os.name != "posix" or shutil.which(compiler[0]) is None:
        print(f"no C compiler ({' '.join(compiler)}): Fedloom's kernels are left out", file=sys.stderr)
        return None
    done = subprocess.run(
        [*compiler, *FLAGS, "-o", str(part), str(source)], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"Fedloom's kernels are left out, for they do not compile:\n{done.stderr}", file=sys.stderr)
        return None
    (root / part).replace(root / library)
    return library


class CustomBuildHook(BuildHookInterface[Any]):
    """Called by hatchling before it gathers files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the library, and says in the wheel's name for which platform it is."""
        del version
        if library := compiled(Path(self.root)):
            build_data["artifacts"].append(str(library))
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"
