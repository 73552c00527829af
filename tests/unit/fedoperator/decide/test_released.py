"""Released: absent unless somebody has to approve; waiting, rejected or approved by what was signed for the model in the status."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi import names, released
from fedapi.wire import release
from fedapi.wire.release import Approval
from fedapi.wire.signing import SigningKey
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
MODEL = {"uri": "volume://claim/models/x", "sha256": "a" * 64, "round": 3}
ENDED = {"model": MODEL, "outcome": {"result": "Succeeded", "reason": "AllRounds", "time": "2026-01-01T00:00:00Z"}}


def asked(*approvals):
    approvers = [{"name": name, "publicKey": KEY.public_key} for name in ("ann", "bob")]
    return {"release": {"approvers": approvers, "required": 1, "approvals": list(approvals)}}


def approval(decision="Approve", uid=None, number=0):
    uid = uid or s.job().metadata.uid
    made = release.signed(KEY, uid, Approval("ann", decision, MODEL["sha256"], "c" * 64, "", number))
    return released.in_spec(made).dump()


def recorded(*approvals):
    """What the aggregator says that the ledger tells."""
    known = [{name: each.get(name) for name in ("approver", "decision", "signature", "number")} for each in approvals]
    return {"release": {"recorded": known}}


def decided(status, replicas=0, **spec):
    """What is done about a job whose aggregator had that many replicas."""
    job, made = s.job(s.STARTED | status, **spec), s.job(**spec)
    children = {}
    for key, body in s.live_children(s.observe(made)).items():
        children[key] = {**body, "spec": {**body["spec"], "replicas": replicas}} if key.kind == "Deployment" else body
    return decide(s.observe(job, children=children), s.NOW)


def replicas_of(decision):
    return [each["spec"]["replicas"] for each in decision.objects if each["kind"] == "Deployment"]


def condition(status, **spec):
    job = s.job(s.STARTED | status, **spec)
    children = s.live_children(s.observe(s.job(**spec)))
    return s.condition(decide(s.observe(job, children=children), s.NOW), "Released")


def test_before_the_end_there_is_nothing_to_release():
    assert condition(s.in_round(), **asked())[:2] == ("False", "NotFinished")


def test_a_finished_job_waits_for_its_approvers():
    assert condition(ENDED, **asked())[:2] == ("False", "WaitingForApproval")


def test_an_approval_of_this_job_releases_and_a_rejection_does_not():
    told = ENDED | recorded(approval())
    assert condition(told, **asked(approval())) == ("True", "Approved", "approved by ann")
    assert condition(ENDED, **asked(approval("Reject")))[:2] == ("False", "ReleaseRejected")


def test_an_approval_of_a_job_before_it_does_not_count_and_is_told():
    status, reason, message = condition(ENDED, **asked(approval(uid="another")))
    assert (status, reason) == ("False", "WaitingForApproval")
    assert "the decision of 'ann' does not count" in message


def test_a_job_without_approvers_has_no_such_condition():
    job = s.job(s.STARTED | ENDED)
    found = decide(s.observe(job, children=s.live_children(s.observe(s.job()))), s.NOW)
    assert "Released" not in {c["type"] for c in found.status["conditions"]}


def test_an_approval_that_the_ledger_does_not_tell_releases_nothing():
    status, reason, message = condition(ENDED, **asked(approval()))
    assert (status, reason) == ("False", "RecordingRelease")
    assert message == "approved by ann; the ledger does not tell yet what ann decided"
    other = condition(ENDED | recorded(approval("Reject")), **asked(approval(number=1)))
    assert other[:2] == ("False", "RecordingRelease"), "the ledger tells another decision"


@pytest.mark.parametrize("decision", ["Approve", "Reject"])
def test_the_aggregator_comes_back_to_tell_a_decision_and_goes_when_it_has(decision):
    made = approval(decision)
    assert replicas_of(decided(ENDED, **asked())) == [], "there is nothing to tell"
    back = decided(ENDED, **asked(made))
    assert replicas_of(back) == [1]
    (config,) = (each for each in back.objects if each["kind"] == "ConfigMap")
    said = json.loads(config["data"][names.RELEASE_FILE])
    assert said["approvals"] == [made]
    assert {each["kind"] for each in back.objects} == {
        "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Deployment",
    }, "no site is asked to train, and nobody comes in"  # fmt: skip
    assert replicas_of(decided(ENDED | recorded(made), 1, **asked(made))) == [0]
    assert replicas_of(decided(ENDED | recorded(made), 0, **asked(made))) == []


def test_the_aggregator_comes_back_with_the_configuration_that_the_job_has_ended_with():
    spec = asked(approval())
    children = s.live_children(s.observe(s.job(**spec)))
    before = next(body for key, body in children.items() if key.kind == "ConfigMap")["data"][names.CONFIG_FILE]
    later = s.job(s.STARTED | ENDED, rounds=1000, **spec)
    found = decide(s.observe(later, children=children), s.NOW)
    (config,) = (each for each in found.objects if each["kind"] == "ConfigMap")
    assert config["data"][names.CONFIG_FILE] == before


def test_what_does_not_count_brings_nobody_back():
    assert replicas_of(decided(ENDED, **asked(approval(uid="another")))) == []


def test_an_approval_that_was_put_back_after_a_rejection_releases_nothing_and_is_told():
    told = ENDED | recorded(approval("Reject", number=2))
    status, reason, message = condition(told, **asked(approval(number=1)))
    assert (status, reason) == ("False", "ReleaseRejected")
    assert "it is number 1 (Approve), and the ledger tells number 2 (Reject), which is newer" in message
    assert replicas_of(decided(told, **asked(approval(number=1)))) == [], "there is nothing to tell"


def test_a_rejection_that_was_taken_out_of_the_spec_holds():
    no = {"approver": "bob", "decision": "Reject", "signature": "x"}
    status, reason, message = condition(ENDED | recorded(approval(), no), **asked(approval()))
    assert (status, reason) == ("False", "ReleaseRejected")
    assert message == "the ledger tells that bob rejected it, and spec.release.approvals lacks the decision"
    assert replicas_of(decided(ENDED | recorded(approval(), no), **asked(approval()))) == [], "all is told"
