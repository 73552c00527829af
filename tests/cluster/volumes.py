"""The storage class's provisioner: a folder on the node for every claim, bound at first use.

Runs as a process of the cluster (`python3 -m tests.cluster.volumes SERVER PKI FOLDER NODE`), started by
`defaults`. A volume survives its pods and ends with its claim (reclaim policy Delete) or with `down`.
"""

import re
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.client import Client
from tests.cluster.errors import ClusterError

PROVISIONER = "fedloom.test/folder"
_CLAIMS = "/api/v1/persistentvolumeclaims"
_VOLUMES = "/api/v1/persistentvolumes"
_RESYNC_S = 60.0


@dataclass(frozen=True)
class Provisioner:
    client: Client
    folder: Path
    node: str

    def reconcile(self) -> None:
        volumes = {each["metadata"]["name"]: each for each in self.client.get(_VOLUMES)["items"]}
        for claim in self.client.get(_CLAIMS)["items"]:
            name = f"pvc-{claim['metadata']['uid']}"
            if name not in volumes and _is_ours(claim):
                self._create(name, claim)
        for name, volume in volumes.items():
            mine = volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER
            deletes = volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
            if mine and deletes and volume["status"].get("phase") == "Released":
                shutil.rmtree(self._path(name), ignore_errors=True)
                self.client.request("DELETE", f"{_VOLUMES}/{name}")

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _create(self, name: str, claim: dict[str, Any]) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        self._path(name).mkdir(parents=True, exist_ok=True)
        self._path(name).chmod(0o777)  # any user of the pod may write, as on a real dynamic volume with fsGroup
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [self.node]}
        owner = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        }
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "storageClassName": spec["storageClassName"],
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": owner,
                "hostPath": {"path": str(self._path(name)), "type": "Directory"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }
        self.client.apply(_VOLUMES, volume)

    def watch(self, path: str, changed: threading.Event) -> None:
        """Sets `changed` at every event; reconnects for ever, as the API server ends watches at will."""
        while True:
            try:
                for _ in self.client.stream(f"{path}?watch=1&timeoutSeconds=600"):
                    changed.set()
            except ClusterError:
                threading.Event().wait(1)


def _is_ours(claim: dict[str, Any]) -> bool:
    notes = claim["metadata"].get("annotations", {})
    asked = notes.get("volume.kubernetes.io/storage-provisioner") == PROVISIONER
    # set by the scheduler when a pod uses the claim: WaitForFirstConsumer
    return asked and "volume.kubernetes.io/selected-node" in notes and not claim["spec"].get("volumeName")


def main(server: str, pki: str, folder: str, node: str) -> None:
    provisioner = Provisioner(Client(server, Path(pki), "volumes"), Path(folder), node)
    changed = threading.Event()
    for path in (_CLAIMS, _VOLUMES):
        threading.Thread(target=provisioner.watch, args=(path, changed), daemon=True).start()
    while True:
        changed.clear()
        try:
            provisioner.reconcile()
        except ClusterError as error:  # a conflict or a restart of the API server: the next pass repairs it
            if not re.search("409|404", str(error)):
                print(error, flush=True)
            threading.Event().wait(1)
        changed.wait(_RESYNC_S)


if __name__ == "__main__":
    main(*sys.argv[1:5])
