"""Data that a task sees is mounted read-only, from a claim or a ConfigMap."""

from fedapi.crd.sitedata import DataVolume
from fedoperator.desired.site_data import data_mount


def test_a_claim_is_read_only_twice_and_a_config_map_once():
    claim = data_mount(DataVolume.model_validate({"name": "scans", "persistentVolumeClaim": {"claimName": "mri"}}))
    assert claim.volume()["persistentVolumeClaim"] == {"claimName": "mri", "readOnly": True}
    assert claim.volume_mount() == {"name": "data-scans", "mountPath": "/data/scans", "readOnly": True}
    rows = data_mount(DataVolume.model_validate({"name": "rows", "configMap": {"name": "heart"}}))
    assert rows.volume()["configMap"] == {"name": "heart"}
    assert rows.read_only
