# ruff: noqa: INP001 - a script of the images, not a module
"""Splits a wheel's dependencies into the layers of an image: what changes seldom comes first.

Run by the images' Dockerfiles in their `plan` stage: `plan.py EXTRA…`, beside constraints.txt and the
wheel. Writes torch.txt (PyTorch and what it brings, pinned: a layer that only a pin can change) and
deps.txt (the extras' requirements). The names come from the wheel: they are written once, in
pyproject.toml. Needs pip's own copy of `packaging`, hence a virtual environment's Python.
"""

import sys
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
TORCH = {
    "torch", "triton", "numpy", "filelock", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "sympy",
    "typing-extensions", "setuptools",
}  # fmt: skip


def requirements(metadata: Message, extra: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The requirements of the wheel with this extra, extras of the wheel itself resolved."""
    found: set[str] = set()
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if canonicalize_name(requirement.name) == canonicalize_name(metadata["Name"]):
            for other in requirement.extras - seen:
                found |= requirements(metadata, other, seen | {extra, other})
        else:
            requirement.marker = None
            found.add(str(requirement))
    return found


def of_torch(pin: str) -> bool:
    """Whether a pin belongs to PyTorch's layer."""
    name = canonicalize_name(Requirement(pin).name)
    return name in TORCH or name.startswith("nvidia-")


def main(extras: list[str]) -> None:
    """Reads Fedloom's wheel and the pins beside this file."""
    (wheel,) = HERE.glob("fedloom-*.whl")
    with ZipFile(wheel) as archive:
        (file,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(file))
    wanted = set().union(*(requirements(metadata, extra) for extra in extras))
    pins = [
        pin for line in (HERE / "constraints.txt").read_text().splitlines() if (pin := line.partition("#")[0].strip())
    ]
    torch = any(canonicalize_name(Requirement(each).name) == "torch" for each in wanted)
    torch_pins = [pin for pin in pins if torch and of_torch(pin)]
    (HERE / "torch.txt").write_text("\n".join(sorted(torch_pins)) + "\n")
    (HERE / "deps.txt").write_text("\n".join(sorted(wanted)) + "\n")


main(sys.argv[1:])
