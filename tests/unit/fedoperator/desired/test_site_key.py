"""Keys of sites: the private one in that site's training pods alone, the public ones in the aggregator's configuration."""

import base64
import json

from fedapi import names
from fedapi.wire.job import JobConfig
from fedapi.wire.signature import SiteKey
from fedoperator.desired.config import config_map
from fedoperator.desired.site_key import public_keys
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

ONE, TWO = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
IDENTITY = {
    "keys": [
        {"publicKey": ONE, "notBefore": "2027-01-01T00:00:00Z", "notAfter": "2027-01-02T01:00:00+01:00"},
        {"publicKey": TWO, "revoked": True},
    ]
}


def test_a_site_with_keys_mounts_the_secret_of_its_own_name_and_others_mount_none():
    made = training_job(s.job(), s.site("a", identity=IDENTITY), m.DOMAIN)
    (volume,) = [v for v in made["spec"]["template"]["spec"]["volumes"] if v["name"] == "signing-key"]
    assert volume["secret"]["secretName"] == "fedloom-site-key-a"
    mount = {"name": "signing-key", "mountPath": names.PATH_SIGNING_KEY, "readOnly": True}
    assert mount in m.container(made)["volumeMounts"]
    told = {entry["name"]: entry.get("value") for entry in m.container(made)["env"]}
    assert told[names.ENV_SIGNING_KEY_DIR] == names.PATH_SIGNING_KEY
    without = str(training_job(s.job(), s.site("a"), m.DOMAIN))
    assert "signing-key" not in without
    assert names.ENV_SIGNING_KEY_DIR not in without


def test_keys_of_other_sites_are_mounted_where_the_site_has_them_of_its_own():
    made = training_job(
        s.job(), s.site("a", identity=IDENTITY | {"peers": {"configMapRef": {"name": "partners"}}}), m.DOMAIN
    )
    (volume,) = [v for v in made["spec"]["template"]["spec"]["volumes"] if v["name"] == "peer-keys"]
    assert volume["configMap"] == {"name": "partners"}
    assert {"name": "peer-keys", "mountPath": names.PATH_PEER_KEYS, "readOnly": True} in m.container(made)[
        "volumeMounts"
    ]
    told = {entry["name"]: entry.get("value") for entry in m.container(made)["env"]}
    assert told[names.ENV_PEER_KEYS_DIR] == names.PATH_PEER_KEYS
    assert names.ENV_PEER_KEYS_DIR not in str(training_job(s.job(), s.site("a", identity=IDENTITY), m.DOMAIN))


def test_the_aggregator_is_told_of_all_keys_and_of_nothing_where_there_are_none():
    known = public_keys(s.site("a", identity=IDENTITY))
    assert known == (
        SiteKey(public_key=ONE, not_before=1798761600.0, not_after=1798848000.0),
        SiteKey(public_key=TWO, revoked=True),
    )
    text = config_map(s.job(), (), identities={"a": known})["data"][names.CONFIG_FILE]
    assert JobConfig.model_validate_json(text).identities == {"a": known}
    assert public_keys(s.site("b")) == ()
    assert "identities" not in json.loads(config_map(s.job(), ())["data"][names.CONFIG_FILE])
