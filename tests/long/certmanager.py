"""cert-manager's controllers, built from its Go module (controller/) once for a machine, and run beside an API server.

Used by test_certmanager.py. What tests/integration/fedoperator/certmanager.py plays is real here.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedoperator.desired.kinds import CERTIFICATE
from tests.cluster import state, tools
from tests.cluster.paths import cache_root
from tests.cluster.shell import run
from tests.integration.fedoperator.certmanager import MODULE, definition
from tests.integration.fedoperator.kit import Api
from tests.servers.process import Process, running

SOURCE = Path(__file__).with_name("controller")
RESOURCES = ("certificates", "certificaterequests", "issuers", "clusterissuers")
APPROVER = "certificaterequests-approver"  # what a company leaves out that approves requests by a policy of its own


@contextmanager
def controllers(api: Api, folder: Path, *without: str) -> Iterator[Process]:
    """Run as long as the block lasts, with the resources there. `without`: names of controllers that are left out."""
    program = _program()
    for resource in RESOURCES:
        api.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=definition(resource))
    crds = [f"crd/{resource}.{CERTIFICATE.group}" for resource in RESOURCES]
    api.cluster.kubectl("wait", "--for=condition=Established", *crds, "--timeout=60s")
    env = {"KUBECONFIG": str(api.cluster.kubeconfig)}
    try:
        with running(Process([program, *without], folder / "cert-manager.log", lambda: True, env)) as process:
            yield process
    finally:
        api.cluster.kubectl("delete", *crds)


def _program() -> Path:
    content = b"".join(path.read_bytes() for path in sorted(SOURCE.iterdir()))
    folder = cache_root() / "tools" / f"cert-manager-{hashlib.sha256(content).hexdigest()[:8]}"
    program = folder / "bin" / "controllers"
    assert MODULE.replace("@", " ") in (SOURCE / "go.mod").read_text(), "the resources are of the controllers' version"
    with state.locked("cert-manager"):
        if not program.exists():
            shutil.copytree(SOURCE, folder / "src", dirs_exist_ok=True)
            env = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
            flags = ("-trimpath", "-ldflags", "-s -w", "-o", str(program))
            run(tools.go(), "build", *flags, ".", cwd=folder / "src", env=env, log=folder / "build.log")
    return program
