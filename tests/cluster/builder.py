"""buildah, with its storage in the cache: builds a Dockerfile, pushes the image into the local registry.

Called by `images`. A push carries only layers that the registry lacks, compressed for speed: they never
leave this machine. What is built, and when it is skipped, is decided in `images`.
"""

import configparser
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import processes, registry
from tests.cluster.errors import ClusterError
from tests.cluster.paths import Dirs, cache_root
from tests.cluster.shell import attempt, downloaded, run

# A fixed port: buildah remembers by address which compressed layers a registry has.
PUSH_TO = "127.0.0.1:15055"


@dataclass(frozen=True)
class Builder:
    log: Path

    def build(self, tag: str, context: Path, arguments: Mapping[str, str], target: str = "") -> None:
        words = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        words += [f"--target={target}"] if target else []
        how = ("--layers", "--isolation=chroot", "--network=host", "--format=oci", "--pull-never", *_mounts())
        where = (f"--file={context / 'Dockerfile'}", f"--tag={tag}", context)
        downloaded(lambda: _buildah("build", *how, *words, *where, log=self.log))  # layers that are done stay

    def has(self, tag: str) -> bool:
        return attempt("buildah", *_storage(), "inspect", "--type=image", tag)

    def push(self, tag: str) -> None:
        target = tag.replace("localhost/", f"docker://{PUSH_TO}/", 1)
        _buildah("push", "--tls-verify=false", "--compression-format=zstd", "--compression-level=1",
                 tag, target, log=self.log)  # fmt: skip

    def forget_untagged(self) -> None:
        """Frees the layers of images that a newer build replaced, and what a broken build left."""
        attempt("buildah", *_storage(), "rm", "--all")
        attempt("buildah", *_storage(), "rmi", "--prune")


def storage() -> Path:
    return cache_root() / "buildah"


def _storage() -> list[str]:
    return [f"--root={storage()}/storage", f"--runroot={storage()}/run", "--storage-driver=overlay"]


def _buildah(verb: str, *words: str | Path, log: Path) -> None:
    # buildah keeps the pip cache of `RUN --mount=type=cache` under TMPDIR
    temporary = cache_root() / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    run("buildah", *_storage(), verb, *words, env={"TMPDIR": str(temporary)}, log=log)


def _mounts() -> list[str]:
    """This machine's certificates and pip settings, so that packages come from where they come from here."""
    found = ["--volume=/etc/ssl/certs:/etc/ssl/certs:ro"] if Path("/etc/ssl/certs").is_dir() else []
    settings = configparser.RawConfigParser()
    settings.read("/etc/pip.conf")
    if not settings.has_section("global"):
        settings.add_section("global")
    for key in ("INDEX_URL", "EXTRA_INDEX_URL", "TRUSTED_HOST", "CERT", "DEFAULT_TIMEOUT"):
        if value := os.environ.get(f"PIP_{key}"):
            settings.set("global", key.lower().replace("_", "-"), value)
    if settings.options("global"):
        file = cache_root() / "tmp" / "pip" / "pip.conf"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as sink:
            settings.write(sink)
        found.append(f"--volume={file.parent}:/etc/xdg/pip:ro")
    return found


@contextmanager
def opened() -> Iterator[Builder]:
    """A builder with the registry up on this machine's loopback. The caller holds the lock `images`."""
    where = Dirs("images", cache_root() / "push", cache_root() / "push")
    processes.stop(where.pids, ["registry"], grace_s=1)  # a crash left it
    registry.start(where, PUSH_TO, netns=None)
    try:
        yield Builder(cache_root() / "log" / "images.log")
    except ClusterError as error:
        raise ClusterError(f"{error}\n{_tail(cache_root() / 'log' / 'images.log')}") from error
    finally:
        processes.stop(where.pids, ["registry"], grace_s=2)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:]) if log.exists() else ""
