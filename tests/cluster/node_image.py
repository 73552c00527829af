"""The image that the node itself needs: a static busybox, which serves as sandbox ("pause").

Written as a docker archive without any image tool, so that a cluster comes up before anything was
built. Tests may use it too: it has sh, wget, nslookup, nc, httpd and is 2 MB.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.cluster.paths import cache_root
from tests.cluster.shell import run

NAME = "localhost/fedloom-node:1"
_BUSYBOX = Path("/bin/busybox")


def archive() -> Path:
    target = cache_root() / "images" / "node.tar"
    target.parent.mkdir(parents=True, exist_ok=True)
    layer = _layer()
    config = {
        "architecture": _architecture(),
        "os": "linux",
        # it ends on SIGKILL, which is what a runtime sends to a sandbox
        "config": {"Entrypoint": ["/bin/sleep", "infinity"], "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as tar:
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "layer.tar", layer)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return target


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        _add(tar, "bin/busybox", _BUSYBOX.read_bytes(), mode=0o755)
        for applet in run(str(_BUSYBOX), "--list").split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _architecture() -> str:
    machine = run("uname", "-m").strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
