"""Which images there are, what each is made of, and when nothing has to be done.

Called by the command line, `api` and tests. An image whose inputs (wheel, Dockerfile, pins, base) are
the same as last time is not built; a node that has the registry's digest does not pull.
"""

import hashlib
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from tests.cluster import base, builder, pulls, registry, state, tools
from tests.cluster.errors import CannotRunError
from tests.cluster.paths import CHECKOUT, cache_root
from tests.cluster.shell import run, say


@dataclass(frozen=True)
class Recipe:
    """Where an image comes from: a folder of images/, a target of its Dockerfile, build arguments beside BASE_IMAGE."""

    folder: str
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


OWN = {
    "operator": Recipe("hub", "operator", {"PROGRAM": "operator"}),
    "aggregator": Recipe("hub", "aggregator", {"PROGRAM": "hub"}),  # and backups; every store and queue
    "trainer": Recipe("trainer", "cpu"),
    "trainer-tpu": Recipe("trainer", "tpu", {"TORCH_XLA": "torch_xla"}),  # no TPU here: without Google's libtpu
}


def tag(image: str) -> str:
    return f"localhost/fedloom-{image}:dev"


def build_own(name: str, only: tuple[str, ...] = tuple(OWN), wheel: Path | None = None) -> None:
    """Builds this checkout's images and has the cluster `name` pull them, if it is up."""
    if unknown := set(only) - set(OWN):
        raise CannotRunError(f"no image {', '.join(sorted(unknown))}; there are {', '.join(OWN)}")
    tools.check(api_only=False)
    with state.locked("images"), builder.opened() as made:
        contexts = {image: _gather(image, wheel or newest_wheel()) for image in only}
        _base(made)
        for image, context in contexts.items():
            _build(made, tag(image), context, {"BASE_IMAGE": base.NAME, **OWN[image].arguments}, OWN[image].target)
    pulls.ensure(name, [tag(image) for image in only])


def build_context(name: str, context: Path, wanted: str, below: str = "trainer") -> None:
    """Builds any folder's Dockerfile and has the cluster pull it. Its BASE_IMAGE is this checkout's image `below`."""
    if not wanted.startswith("localhost/"):
        raise CannotRunError(f"--tag {wanted}: an image of this cluster is called localhost/NAME:TAG")
    if not (context / "Dockerfile").is_file():
        raise CannotRunError(f"--context {context}: no Dockerfile there")
    tools.check(api_only=False)
    parent = tag(below)
    with state.locked("images"), builder.opened() as made:
        if not made.has(parent):
            raise CannotRunError(f"{parent} is not built; run `python3 -m tests.cluster images --only {below}` first")
        _build(made, wanted, context, {"BASE_IMAGE": parent})
    pulls.ensure(name, [wanted])


def _base(made: builder.Builder) -> None:
    if not made.has(base.NAME):
        context = base.context()
        made.build(base.NAME, context, {})


def _build(made: builder.Builder, wanted: str, context: Path, arguments: Mapping[str, str], target: str = "") -> None:
    stamp = cache_root() / "images" / f"{wanted.replace('/', '_').replace(':', '_')}.inputs"
    inputs = _digest(context, arguments, target)
    if stamp.exists() and stamp.read_text() == inputs and registry.digest(wanted):
        say(f"{wanted} is up to date")
        return
    say(f"building {wanted}; output in {made.log}")
    made.build(wanted, context, arguments, target)
    made.push(wanted)
    made.forget_untagged()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(inputs)


def _gather(image: str, wheel: Path) -> Path:
    """A build context of exactly the inputs, in the cache."""
    context = cache_root() / "images" / image
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    folder = CHECKOUT / "images" / OWN[image].folder
    for source in (*folder.iterdir(), CHECKOUT / "images" / "plan.py", CHECKOUT / "constraints.txt", wheel):
        if source.is_file():
            shutil.copy2(source, context)
    if (context / "horovod_wheel.py").exists():
        _horovod(context)
    return context


def _horovod(context: Path) -> None:
    """Adds the development environment's wheel of Horovod where the base image can load it; else the image builds one."""
    python = CHECKOUT / ".venv" / "bin" / "python"
    libc = platform.libc_ver()[1]
    if python.exists() and sys.version_info[:2] == base.PYTHON and libc and _numbers(libc) <= base.LIBC:
        run(sys.executable, context / "horovod_wheel.py", python, context)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def newest_wheel() -> Path:
    wheels = sorted((CHECKOUT / "dist").glob("fedloom-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise CannotRunError("no wheel in dist/; run `make wheel` (or `pip wheel --no-deps -w dist .`) first")
    return wheels[-1]


def _digest(context: Path, arguments: Mapping[str, str], target: str) -> str:
    """Of names and content: a wheel built again from the same code has the same digest, whatever its dates.

    An image below it that was built here is an input too, by its digest in the registry.
    """
    asked = [(name, value, registry.digest(value)) for name, value in sorted(arguments.items())]
    found = hashlib.sha256(repr([*asked, target]).encode())
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        found.update(str(path.relative_to(context)).encode())
        if path.suffix == ".whl":
            with ZipFile(path) as archive:
                found.update(repr([(each.filename, each.CRC) for each in archive.infolist()]).encode())
        else:
            found.update(path.read_bytes())
    for line in (context / "Dockerfile").read_text().splitlines():
        word, _, parent = line.strip().partition(" ")
        if word.upper() == "FROM" and (below := registry.digest(parent.split()[0])):
            found.update(below.encode())
    return found.hexdigest()
