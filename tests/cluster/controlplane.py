"""etcd, API server, controller manager and scheduler: their flags and the order of their start.

Called by `lifecycle` for both kinds of cluster; the same flags serve a full cluster (inside its
network namespace) and an API-only one (free loopback ports, any user). Nodes are in `node`.
"""

import json
from dataclasses import dataclass

from tests.cluster import pki, processes
from tests.cluster.addresses import API_PORT, Addresses
from tests.cluster.client import Client
from tests.cluster.paths import Dirs
from tests.cluster.tools import binary
from tests.ports import free_ports

_WRITES = ["create", "update", "patch", "delete", "deletecollection"]
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": _WRITES}, {"level": "None"}],
}


@dataclass(frozen=True)
class Plane:
    """Where one control plane listens."""

    ip: str
    api_port: int
    etcd_port: int
    peer_port: int
    services: str
    netns: str | None = None
    names: str = ""  # further subjectAltNames of the API server's certificate

    @property
    def server(self) -> str:
        return f"https://{self.ip}:{self.api_port}"


def in_netns(addresses: Addresses, netns: str) -> Plane:
    names = f",IP:{addresses.api_service_ip}"
    return Plane(addresses.node_ip, API_PORT, 2379, 2380, addresses.services, netns, names)


def on_loopback() -> Plane:
    api, etcd, peer = free_ports(3)
    return Plane("127.0.0.1", api, etcd, peer, "10.203.0.0/24")


def make_identities(dirs: Dirs, plane: Plane, components: tuple[str, ...]) -> None:
    pki.authority(dirs.pki, dirs.name)
    inside = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost"
    names = f"IP:127.0.0.1,IP:{plane.ip}{plane.names},{inside}"
    pki.certificate(dirs.pki, "apiserver", "kube-apiserver", names=names)
    for file in components:
        pki.certificate(dirs.pki, file, *pki.COMPONENTS[file])
        pki.kubeconfig(dirs.pki, file, plane.server, dirs.pki / f"{file}.kubeconfig", context=dirs.name)
    pki.kubeconfig(dirs.pki, "admin", plane.server, dirs.kubeconfig, context=dirs.name)


def start_api(dirs: Dirs, plane: Plane, *, controllers: bool) -> None:
    client_url, peer_url = (f"http://127.0.0.1:{port}" for port in (plane.etcd_port, plane.peer_port))
    etcd: processes.Command = [
        "etcd", "--name=only", "--data-dir", dirs.run / "etcd", "--logger=zap", "--log-level=warn",
        f"--listen-client-urls={client_url}", f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=only={peer_url}",
    ]  # fmt: skip
    processes.start("etcd", etcd, pids=dirs.pids, log=dirs.log, netns=plane.netns)
    policy = dirs.etc / "audit-policy.json"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text(json.dumps(_AUDIT_POLICY))
    key = dirs.pki
    api: processes.Command = [
        binary("kube-apiserver"),
        f"--etcd-servers={client_url}",
        # inside its own namespace every address is the cluster's
        f"--bind-address={plane.ip if plane.netns is None else '0.0.0.0'}",
        f"--advertise-address={plane.ip}",
        f"--secure-port={plane.api_port}",
        f"--service-cluster-ip-range={plane.services}",
        f"--client-ca-file={key}/ca.crt",
        f"--tls-cert-file={key}/apiserver.crt",
        f"--tls-private-key-file={key}/apiserver.key",
        f"--service-account-key-file={key}/sa.pub",
        f"--service-account-signing-key-file={key}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={dirs.audit_log}",
        "--audit-log-mode=blocking",
        "--shutdown-delay-duration=0s",
    ]
    if (key / "apiserver-kubelet.crt").exists():
        api += [
            f"--kubelet-client-certificate={key}/apiserver-kubelet.crt",
            f"--kubelet-client-key={key}/apiserver-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP",
        ]
    if not controllers:  # nobody would make the `default` service account, and every pod would be refused
        api.append("--disable-admission-plugins=ServiceAccount")
    processes.start("apiserver", api, pids=dirs.pids, log=dirs.log, netns=plane.netns)


def wait_ready(dirs: Dirs, client: Client) -> None:
    def ready() -> bool:
        return client.answers("/readyz")

    processes.wait_until("the API server", ready, timeout_s=300, log=dirs.log / "apiserver.log")


def start_controllers(dirs: Dirs, plane: Plane) -> None:
    command: processes.Command = [
        binary("kube-controller-manager"),
        f"--kubeconfig={dirs.pki}/controller-manager.kubeconfig",
        f"--service-account-private-key-file={dirs.pki}/sa.key",
        f"--root-ca-file={dirs.pki}/ca.crt",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    processes.start("controller-manager", command, pids=dirs.pids, log=dirs.log, netns=plane.netns)


def wait_controllers(dirs: Dirs, client: Client) -> None:
    """Until pods are admitted: they need the service accounts that the controllers make."""

    def ready() -> bool:
        spaces = ("default", "kube-system")
        return all(client.answers(f"/api/v1/namespaces/{space}/serviceaccounts/default") for space in spaces)

    processes.wait_until("the service accounts", ready, timeout_s=300, log=dirs.log / "controller-manager.log")


def start_scheduler(dirs: Dirs, plane: Plane) -> None:
    command: processes.Command = [
        binary("kube-scheduler"),
        f"--kubeconfig={dirs.pki}/scheduler.kubeconfig",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    processes.start("scheduler", command, pids=dirs.pids, log=dirs.log, netns=plane.netns)
