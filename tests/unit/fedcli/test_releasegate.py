"""No byte of a model is asked for before it is released: of jobs on a cluster, with a volume; and what an approval is put beside."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi import released
from fedapi.wire import release
from fedapi.wire.release import Approval
from fedapi.wire.signing import SigningKey
from fedcli import releasegate
from fedcli.errors import CommandError
from fedcli.modelreader import pull_from_claim, pull_model
from fedcli.release import approver
from fedlocal.errors import BadInputError
from tests.unit.fedcli.test_modelreader import LAYOUT, MODEL, node, put

__all__ = ["node"]
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
SHA256 = hashlib.sha256(MODEL).hexdigest()
CARD = json.dumps({"uid": LAYOUT.uid, "model_sha256": SHA256, "result": "Succeeded"}).encode()


def approved(decision="Approve", *, card=CARD, uid=LAYOUT.uid, model=SHA256, number=0):
    made = release.signed(KEY, uid, Approval("ann", decision, model, hashlib.sha256(card).hexdigest(), "", number))
    return released.in_spec(made).dump()


@pytest.fixture
def gated(node):
    """A finished job whose model has to be approved."""
    node.uid = LAYOUT.uid
    (key,) = (str(path.relative_to(node.folder)) for path in node.folder.glob("models/*/*/000001-*"))
    claim = {"children": {"volumeClaim": "claim"}}
    node.job_status = {"model": {"uri": f"volume://claim/{key}", "sha256": SHA256}, "outcome": {}, **claim}
    put(node.folder, LAYOUT.card, CARD)

    def asked(*approvals, told=True):
        named = ("approver", "decision", "signature")
        recorded = [{name: each[name] for name in named} for each in approvals]
        node.job_status["release"] = {"recorded": recorded if told else []}
        approvers = [{"name": "ann", "publicKey": KEY.public_key}]
        node.job_spec = {"release": {"approvers": approvers, "approvals": list(approvals)}}
        return node

    return asked


def refused(node, tmp_path, words, *round_):
    with pytest.raises(CommandError, match=words):
        pull_model(node, "study-a", tmp_path / "m", *round_)
    assert not (tmp_path / "m").exists()
    assert not any("copyfileobj" in word for command in node.commands for word in command), "no byte was asked for"


@pytest.mark.parametrize(
    ("approvals", "words"),
    [
        ([], "is not released .* 0 of 1 approvals"),
        ([approved("Reject")], "rejected by ann"),
        ([approved(uid="another-job")], "does not count: the signature"),
        ([approved(model="0" * 64)], "it is about model 000"),
        ([approved(card=b"another")], "is not the one that was approved"),
    ],
)
def test_a_model_that_is_not_released_is_not_pulled(gated, tmp_path, approvals, words):
    refused(gated(*approvals), tmp_path, words)


def test_the_approved_model_is_pulled_and_no_other(gated, tmp_path):
    node = gated(approved())
    refused(node, tmp_path, "0 of 1 approvals", 0)
    assert pull_model(node, "study-a", tmp_path / "m") == SHA256


def test_an_approval_that_the_ledger_does_not_tell_releases_nothing(gated, tmp_path):
    node = gated(approved(), told=False)
    refused(node, tmp_path, "is not released yet: the ledger does not tell what ann decided")
    del node.job_status["release"]
    refused(node, tmp_path, "is not released yet: the ledger does not tell what ann decided")


def test_an_approval_that_was_put_back_after_a_rejection_releases_nothing(gated, tmp_path):
    node = gated(approved(number=1))
    newer = approved("Reject", number=2)
    node.job_status["release"]["recorded"] = [
        {name: newer[name] for name in ("approver", "decision", "signature", "number")}
    ]
    refused(node, tmp_path, "the ledger tells number 2 .Reject., which is newer")


def test_a_rejection_that_was_taken_out_of_the_spec_holds(gated, tmp_path):
    node = gated(approved())
    node.job_status["release"]["recorded"].append({"approver": "bob", "decision": "Reject", "signature": "x"})
    refused(node, tmp_path, "the ledger tells that bob rejected it")


def test_a_card_that_was_changed_after_the_approval_keeps_the_model_back(gated, tmp_path):
    node = gated(approved())
    put(node.folder, LAYOUT.card, CARD + b" ")
    refused(node, tmp_path, "is not the one that was approved")
    (node.folder / LAYOUT.card).unlink()
    refused(node, tmp_path, "is not the one that was approved")


def test_the_claim_of_such_a_job_is_no_way_around(gated, tmp_path):
    node = gated(approved())
    with pytest.raises(CommandError, match="whose model has to be approved"):
        pull_from_claim(node, "claim", "image:1", tmp_path / "m")
    assert pull_from_claim(node, "of-another-job", "image:1", tmp_path / "m") == SHA256


@pytest.mark.parametrize(
    "card",
    [
        b"{",
        b"[]",
        json.dumps({"uid": "other", "model_sha256": SHA256, "result": "Succeeded"}).encode(),
        json.dumps({"uid": LAYOUT.uid, "model_sha256": "0" * 64, "result": "Succeeded"}).encode(),
        json.dumps({"uid": LAYOUT.uid, "model_sha256": SHA256, "result": ""}).encode(),
    ],
)
def test_a_card_of_something_else_can_be_approved_by_nobody(card):
    with pytest.raises(CommandError, match="model card"):
        releasegate.card_digest(card, LAYOUT.uid, SHA256)


def test_a_job_without_approvers_has_no_gate():
    assert releasegate.of_job({"metadata": {"name": "a", "uid": "u"}, "spec": {}}) is None


@pytest.mark.parametrize("text", ["{", "[1]", "{}"])
def test_approvals_of_a_local_run_that_are_none_are_named(tmp_path, text):
    (tmp_path / releasegate.LOCAL_APPROVALS).write_text(text)
    asked = {"approvers": [{"name": "ann", "publicKey": KEY.public_key}]}
    with pytest.raises(CommandError, match=r"approvals\.json: it holds no approvals"):
        releasegate.of_job({"metadata": {"name": "j", "uid": "u"}, "spec": {"release": asked}}, tmp_path)


def test_a_key_in_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInputError, match="name a file in a folder that is there"):
        approver("ann", tmp_path / "none" / "ann.pem")


def test_a_key_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"--key .*no/ann.pem: No such file or directory: name a file in a folder"):
        approver("ann", tmp_path / "no/ann.pem")
