"""Certificates and kubeconfigs of one cluster, made afresh by openssl at every `up`.

Each component has its own identity, so that RBAC is real and the audit log tells who wrote what.
Called by `lifecycle`. Nothing here outlives `down`.
"""

import base64
import json
from pathlib import Path

from tests.cluster.shell import run

# identity -> (common name, organization); the names are those that Kubernetes' own RBAC rules bind
COMPONENTS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("cluster-dns", "system:masters"),
    "volumes": ("volume-provisioner", "system:masters"),
    "apiserver-kubelet": ("apiserver-kubelet", "system:masters"),
}
_DAYS = "90"
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def authority(pki: Path, name: str) -> None:
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    run("openssl", "req", "-x509", *_EC, "-keyout", pki / "ca.key", "-out", pki / "ca.crt",
        "-subj", f"/CN={name}-ca", "-days", _DAYS)  # fmt: skip
    run("openssl", "genrsa", "-out", pki / "sa.key", "2048")
    run("openssl", "rsa", "-in", pki / "sa.key", "-pubout", "-out", pki / "sa.pub")


def certificate(pki: Path, file: str, common_name: str, organization: str = "", names: str = "") -> None:
    subject = (f"/O={organization}" if organization else "") + f"/CN={common_name}"
    extra = pki / f"{file}.ext"
    extra.write_text(f"subjectAltName={names or 'DNS:' + file}\n")
    run("openssl", "req", *_EC, "-keyout", pki / f"{file}.key", "-out", pki / f"{file}.csr", "-subj", subject)
    run("openssl", "x509", "-req", "-in", pki / f"{file}.csr", "-CA", pki / "ca.crt", "-CAkey", pki / "ca.key",
        "-CAcreateserial", "-out", pki / f"{file}.crt", "-days", _DAYS, "-extfile", extra)  # fmt: skip


def kubeconfig(pki: Path, file: str, server: str, target: Path, *, context: str) -> None:
    """Self-contained (no paths), so that it can be copied; JSON, which is YAML."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": data(pki / "ca.crt")}
    user = {
        "client-certificate-data": data(pki / f"{file}.crt"),
        "client-key-data": data(pki / f"{file}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": file, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": file}}],
        "current-context": context,
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(config, indent=1) + "\n")
