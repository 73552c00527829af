"""A site joins with the commands as people give them, and the run that follows takes its signed updates."""

from datetime import UTC, datetime

import yaml

from fedapi.wire.signing import SigningKey
from fedoperator.key_material import Keys
from tests import commands
from tests.integration.fedlocal.runs import Lab, job, site
from tests.integration.fedlocal.test_site_keys import commits


def fedloom(*words):
    return commands.fedloom(*words).stdout


def test_a_site_that_joined_takes_part_and_one_that_did_not_is_left_out(tmp_path):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/ca.pem").write_bytes(Keys.generated(datetime.now(UTC)).ca_cert)
    north, east = site("north"), site("east")
    east["spec"]["enrollment"] = {}
    manifest = tmp_path / "hub/north.yaml"
    manifest.write_text(yaml.safe_dump(north))
    printed = fedloom("site", "enroll", "north", "--manifest", manifest, "--ca", tmp_path / "hub/ca.pem")
    change, _, command = printed.rpartition("fedloom ")
    north["spec"] |= yaml.safe_load(change)["spec"]
    manifest.write_text(yaml.safe_dump(north))
    own = tmp_path / "signing.key"
    request = fedloom(*command.split(), "--file", own, "--ca", tmp_path / "ca.crt")
    key = SigningKey.of_pem(own.read_bytes())
    printed = fedloom(
        "site", "approve", "north", "--manifest", manifest, "--request", request.strip(), "--key-id", key.id
    )
    north["spec"] |= yaml.safe_load(printed)["spec"]
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fedloom-site-key-north"},
        "stringData": {"signing.key": own.read_text()},
    }  # fmt: skip
    lab = Lab.of(tmp_path / "lab", job(rounds=2), north, site("south"), east, secret)
    code, output = lab.run()
    assert code == 0, output
    assert "left out: east: NotEnrolled: " in output
    assert "never drawn" not in output
    for commit in commits(lab)[1:]:
        assert {each.client: each.signed and each.signed.key_id for each in commit.participants} == {
            "north": key.id,
            "south": None,
        }
