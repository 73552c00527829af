"""A finished job's approvals on a real API server: the aggregator comes back for them, and the job is released when it has told them."""

import json

import pytest

from fedapi import names
from fedapi import released as released_
from fedapi.wire import release
from fedapi.wire.release import Approval
from fedapi.wire.signing import SigningKey
from tests.integration.fedoperator.kit import ago, consortium, operator, rest, until

pytestmark = pytest.mark.apiserver
MODEL = "a" * 64


@pytest.fixture(scope="module")
def running(api, tmp_path_factory):
    with operator(api, tmp_path_factory.mktemp("operator"), RESYNC_S=2) as process:
        yield process.wait_ready()


def released(api, namespace):
    conditions = api.get("FederatedJob", namespace, "heart").get("status", {}).get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Released"), None)


def replicas(api, namespace):
    (found,) = api.listed("Deployment", namespace, f"{names.LABEL_JOB}=heart")
    return found["spec"]["replicas"]


def told(api, namespace, **leaves):
    """Plays the aggregator."""
    api.patch("FederatedJob", namespace, "heart", {"status": leaves}, "status")


def test_the_aggregator_comes_back_to_tell_an_approval(api, namespace, running):
    key = SigningKey.generated()
    made = consortium(
        api, namespace, "site-a", release={"approvers": [{"name": "ann", "publicKey": key.public_key}], "required": 1}
    )
    until(lambda: api.listed("Deployment", namespace, f"{names.LABEL_JOB}=heart"))
    outcome = {"result": "Succeeded", "reason": "AllRounds", "time": ago(0)}
    told(api, namespace, outcome=outcome, model={"uri": "volume://claim/x", "sha256": MODEL, "round": 3})
    until(lambda: released(api, namespace) == ("False", "WaitingForApproval"))
    until(lambda: replicas(api, namespace) == 0)
    said = release.signed(key, made["metadata"]["uid"], Approval("ann", "Approve", MODEL, "c" * 64, ""))
    approval = released_.in_spec(said).dump()
    changed = {"spec": {"rounds": 9, "release": {"approvals": [approval]}}}
    api.patch("FederatedJob", namespace, "heart", changed)
    until(lambda: released(api, namespace) == ("False", "RecordingRelease"))
    until(lambda: replicas(api, namespace) == 1)
    (config,) = api.listed("ConfigMap", namespace, f"{names.LABEL_JOB}=heart")
    assert json.loads(config["data"][names.RELEASE_FILE])["approvals"] == [approval]
    assert json.loads(config["data"][names.CONFIG_FILE])["rounds"] == 3, "a finished job does not train again"
    rest(api, namespace, running)
    recorded = {"approver": "ann", "decision": "Approve", "signature": said.signature}
    told(api, namespace, release={"recorded": [recorded]})
    until(lambda: released(api, namespace) == ("True", "Approved"))
    until(lambda: replicas(api, namespace) == 0)
    rest(api, namespace, running)
