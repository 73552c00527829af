"""What every full cluster holds from the start: the DNS Service and a default storage class.

Called by `lifecycle`. The programs behind them are CoreDNS (`node`) and the provisioner (`volumes`).
"""

import os
import sys
from typing import Any

from tests.cluster import processes
from tests.cluster.addresses import Addresses
from tests.cluster.client import Client
from tests.cluster.paths import CHECKOUT, Dirs
from tests.cluster.volumes import PROVISIONER

STORAGE_CLASS = "folder"


def _objects(addresses: Addresses) -> list[tuple[str, dict[str, Any]]]:
    """(collection, object). The DNS Service has no selector: it reserves the address and leads to the node."""
    ports = [{"name": name, "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns"},
        "spec": {"clusterIP": addresses.dns_ip, "ports": ports},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns-node", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [addresses.node_ip], "conditions": {"ready": True}}],
        "ports": ports,
    }
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    return [
        ("/api/v1/namespaces/kube-system/services", service),
        ("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", endpoints),
        ("/apis/storage.k8s.io/v1/storageclasses", storage),
    ]


def apply(client: Client, addresses: Addresses) -> None:
    for path, body in _objects(addresses):
        client.apply(path, body)


def start_provisioner(dirs: Dirs, server: str, netns: str) -> None:
    command: processes.Command = [
        sys.executable,
        "-m",
        "tests.cluster.volumes",
        server,
        dirs.pki,
        dirs.run / "volumes",
        dirs.name,
    ]
    env = {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    processes.start("volumes", command, pids=dirs.pids, log=dirs.log, netns=netns, env=env)
