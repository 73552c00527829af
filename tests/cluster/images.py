"""Which images there are, what each is made of, and when nothing has to be done.

Called by the command line, `api` and tests. An image whose inputs (wheel, Dockerfile, pins, base) are
the same as last time is not built; a node that has the registry's digest does not pull.
"""

import hashlib
import shutil
from pathlib import Path
from zipfile import ZipFile

from tests.cluster import base, builder, pulls, registry, state, tools
from tests.cluster.errors import CannotRunError
from tests.cluster.paths import CHECKOUT, cache_root
from tests.cluster.shell import say

OWN = ("operator", "aggregator", "trainer")


def tag(image: str) -> str:
    return f"localhost/fedloom-{image}:dev"


def build_own(name: str, only: tuple[str, ...] = OWN, wheel: Path | None = None) -> None:
    """Builds this checkout's images and has the cluster `name` pull them, if it is up."""
    if unknown := set(only) - set(OWN):
        raise CannotRunError(f"no image {', '.join(sorted(unknown))}; there are {', '.join(OWN)}")
    tools.check(api_only=False)
    contexts = {image: _gather(image, wheel or newest_wheel()) for image in only}
    with state.locked("images"), builder.opened() as made:
        _base(made)
        for image, context in contexts.items():
            _build(made, tag(image), context, base.NAME)
    pulls.ensure(name, [tag(image) for image in only])


def build_context(name: str, context: Path, wanted: str) -> None:
    """Builds any folder's Dockerfile and has the cluster pull it. Its BASE_IMAGE is this checkout's trainer image."""
    if not wanted.startswith("localhost/"):
        raise CannotRunError(f"--tag {wanted}: an image of this cluster is called localhost/NAME:TAG")
    if not (context / "Dockerfile").is_file():
        raise CannotRunError(f"--context {context}: no Dockerfile there")
    tools.check(api_only=False)
    trainer = tag("trainer")
    with state.locked("images"), builder.opened() as made:
        if not made.has(trainer):
            raise CannotRunError(f"{trainer} is not built; run `python3 -m tests.cluster images --only trainer` first")
        _build(made, wanted, context, trainer)
    pulls.ensure(name, [wanted])


def _base(made: builder.Builder) -> None:
    if not made.has(base.NAME):
        context = base.context()
        made.build(base.NAME, context, None)


def _build(made: builder.Builder, wanted: str, context: Path, base_image: str) -> None:
    stamp = cache_root() / "images" / f"{wanted.replace('/', '_').replace(':', '_')}.inputs"
    inputs = _digest(context, base_image)
    if stamp.exists() and stamp.read_text() == inputs and registry.digest(wanted):
        say(f"{wanted} is up to date")
        return
    say(f"building {wanted}; output in {made.log}")
    made.build(wanted, context, base_image)
    made.push(wanted)
    made.forget_untagged()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(inputs)


def _gather(image: str, wheel: Path) -> Path:
    """A build context of exactly the inputs, in the cache."""
    context = cache_root() / "images" / image
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for source in (CHECKOUT / "images" / image / "Dockerfile", CHECKOUT / "images" / "plan.py",
                   CHECKOUT / "constraints.txt", wheel):  # fmt: skip
        shutil.copy2(source, context)
    return context


def newest_wheel() -> Path:
    wheels = sorted((CHECKOUT / "dist").glob("fedloom-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise CannotRunError("no wheel in dist/; run `make wheel` (or `pip wheel --no-deps -w dist .`) first")
    return wheels[-1]


def _digest(context: Path, base_image: str) -> str:
    """Of names and content: a wheel built again from the same code has the same digest, whatever its dates.

    An image below it that was built here is an input too, by its digest in the registry.
    """
    found = hashlib.sha256(f"{base_image} {registry.digest(base_image)}".encode())
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
