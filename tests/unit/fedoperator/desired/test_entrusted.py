"""Entrusted state in training pods: the site's own key, and no word of it where the site entrusts nothing, or in the hub."""

from fedapi import names
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m


def test_a_site_that_entrusts_its_state_mounts_its_own_key_and_others_mount_none():
    entrusted = {"keySecretRef": {"name": "fedloom-state-key-a"}, "everyRounds": 5}
    made = training_job(s.job(), s.site("a", entrustedState=entrusted), m.DOMAIN)
    (volume,) = [v for v in made["spec"]["template"]["spec"]["volumes"] if v["name"] == "state-key"]
    assert volume["secret"]["secretName"] == "fedloom-state-key-a"
    assert {"name": "state-key", "mountPath": names.PATH_STATE_KEY, "readOnly": True} in m.container(made)[
        "volumeMounts"
    ]
    told = {entry["name"]: entry.get("value") for entry in m.container(made)["env"]}
    assert told[names.ENV_STATE_KEY_DIR] == names.PATH_STATE_KEY
    assert (told[names.ENV_ENTRUST_EVERY_ROUNDS], told[names.ENV_ENTRUST_KEEP_LAST]) == ("5", "2")
    assert "state-key" not in str(training_job(s.job(), s.site("a"), m.DOMAIN))
