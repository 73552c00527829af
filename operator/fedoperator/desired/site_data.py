"""The mount of a volume with data that a task sees: a site's own, or a sandbox set. Used by the builders of both."""

from fedapi import names
from fedapi.crd.sitedata import DataVolume
from fedoperator.desired.pod import Mount


def data_mount(volume: DataVolume) -> Mount:
    """Read-only twice: the mount for the task, the claim so that the kubelet never changes its ownership."""
    path, name = f"{names.PATH_DATA}/{volume.name}", f"data-{volume.name}"
    if volume.persistent_volume_claim is not None:
        claim = {"claimName": volume.persistent_volume_claim.claim_name, "readOnly": True}
        return Mount(name, {"persistentVolumeClaim": claim}, path, read_only=True)
    source = volume.config_map.name if volume.config_map else ""
    return Mount(name, {"configMap": {"name": source}}, path, read_only=True)
