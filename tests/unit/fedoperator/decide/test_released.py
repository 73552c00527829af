"""Released: absent unless somebody has to approve; waiting, rejected or approved by what was signed for the model in the status."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire import release
from fedapi.wire.release import Approval
from fedapi.wire.signing import SigningKey
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
MODEL = {"uri": "volume://claim/models/x", "sha256": "a" * 64, "round": 3}
ENDED = {"model": MODEL, "outcome": {"result": "Succeeded", "reason": "AllRounds", "time": "2026-01-01T00:00:00Z"}}


def asked(*approvals):
    approvers = [{"name": "ann", "publicKey": KEY.public_key}]
    return {"release": {"approvers": approvers, "required": 1, "approvals": list(approvals)}}


def approval(decision="Approve", uid=None):
    uid = uid or s.job().metadata.uid
    made = release.signed(KEY, uid, Approval("ann", decision, MODEL["sha256"], "c" * 64, ""))
    return dict(zip(("approver", "decision", "modelSHA256", "cardSHA256", "signature"), made, strict=True))


def condition(status, **spec):
    job = s.job(s.STARTED | status, **spec)
    children = s.live_children(s.observe(s.job(**spec)))
    return s.condition(decide(s.observe(job, children=children), s.NOW), "Released")


def test_before_the_end_there_is_nothing_to_release():
    assert condition(s.in_round(), **asked())[:2] == ("False", "NotFinished")


def test_a_finished_job_waits_for_its_approvers():
    assert condition(ENDED, **asked())[:2] == ("False", "WaitingForApproval")


def test_an_approval_of_this_job_releases_and_a_rejection_does_not():
    assert condition(ENDED, **asked(approval())) == ("True", "Approved", "approved by ann")
    assert condition(ENDED, **asked(approval("Reject")))[:2] == ("False", "ReleaseRejected")


def test_an_approval_of_a_job_before_it_does_not_count_and_is_told():
    status, reason, message = condition(ENDED, **asked(approval(uid="another")))
    assert (status, reason) == ("False", "WaitingForApproval")
    assert "the decision of 'ann' does not count" in message


def test_a_job_without_approvers_has_no_such_condition():
    job = s.job(s.STARTED | ENDED)
    found = decide(s.observe(job, children=s.live_children(s.observe(s.job()))), s.NOW)
    assert "Released" not in {c["type"] for c in found.status["conditions"]}
