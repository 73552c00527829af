"""What approvers sign counts for one model, one card and one job; a rejection keeps the model back."""

from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire import release
from fedapi.wire.release import Approval, Approver, Told
from fedapi.wire.signing import SigningKey

UID, MODEL, CARD, OTHER = "uid-1", "a" * 64, "c" * 64, "f" * 64
KEYS = {
    name: SigningKey(Ed25519PrivateKey.from_private_bytes(name[:1].encode() * 32)) for name in ("ann", "bob", "cem")
}
APPROVERS = [Approver(name, key.public_key) for name, key in KEYS.items()]


def approval(name, decision="Approve", *, uid=UID, model=MODEL, card=CARD, key=None, number=0):
    return release.signed(key or KEYS[name], uid, Approval(name, decision, model, card, "", number))


def verdict(*approvals, required=2, model=MODEL, told=None):
    return release.verdict(APPROVERS, required, approvals, UID, model, told or {})


@pytest.mark.parametrize(("number", "as_text"), [(0, ""), (7, '"number":7,')])
def test_the_statement_is_canonical_json_of_all_that_is_decided(number, as_text):
    assert (
        release.statement(UID, Approval("ann", "Approve", MODEL, CARD, "", number))
        == (
            f'{{"approver":"ann","cardSHA256":"{CARD}","decision":"Approve","jobUid":"uid-1","modelSHA256":"{MODEL}",'
            f'{as_text}"purpose":"fedloom.dev/release/v1"}}'
        ).encode()
    )


@pytest.mark.parametrize("decisions", list(product((None, "Approve", "Reject"), repeat=3)))
def test_enough_approve_and_nobody_rejects(decisions):
    made = [approval(name, each) for name, each in zip(KEYS, decisions, strict=True) if each]
    wanted = "Rejected" if "Reject" in decisions else "Approved" if decisions.count("Approve") >= 2 else "Waiting"
    said = verdict(*made)
    assert said.state == wanted
    assert said.cards == ({CARD} if wanted == "Approved" else frozenset())


MALLORY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"m" * 32))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (approval("bob", key=MALLORY), "the signature is not that"),
        (approval("bob", uid="uid-2"), "the signature is not that"),
        (approval("bob", model=OTHER), f"it is about model {OTHER}"),
        (approval("bob")._replace(model_sha256=OTHER), "the signature is not that"),
        (approval("bob")._replace(card_sha256=OTHER), "the signature is not that"),
        (approval("bob")._replace(decision="Reject"), "the signature is not that"),
        (approval("bob")._replace(number=1), "the signature is not that"),
        (approval("bob", number=2)._replace(number=0), "the signature is not that"),
        (approval("bob")._replace(approver="ann"), "the signature is not that"),
        (approval("bob")._replace(approver="eve"), "has nobody of that name"),
        (approval("bob")._replace(signature="!"), "the signature is not that"),
        (approval("bob")._replace(signature=""), "the signature is not that"),
        (approval("bob", "Maybe"), "is no decision"),
    ],
)
def test_what_was_not_signed_for_this_does_not_count_and_is_told(bad, why):
    said = verdict(approval("ann"), bad)
    assert (said.state, said.message) == ("Waiting", f"1 of 2 approvals of model {MODEL}")
    assert [why in note for note in said.notes] == [True]


def test_a_forged_rejection_keeps_nothing_back():
    said = verdict(approval("ann"), approval("bob"), approval("cem", "Reject", key=MALLORY))
    assert said.state == "Approved"


MADE = [(0, "Approve"), (0, "Reject"), (1, "Approve"), (1, "Reject"), (2, "Approve")]  # the older first


@pytest.mark.parametrize(("before", "now"), list(product(MADE, repeat=2)))
def test_a_decision_counts_that_is_not_older_than_what_the_ledger_tells(before, now):
    (number, decision), (told_number, told_decision) = now, before
    last = approval("ann", told_decision, number=told_number)
    said = verdict(approval("ann", decision, number=number), required=1, told={"ann": Told(last.age, last.signature)})
    counts = MADE.index(now) >= MADE.index(before)
    assert len(said.counted) == counts
    if not counts:
        newer = f"it is number {number} ({decision}), and the ledger tells number {told_number} ({told_decision}), which is newer"
        assert (said.state, newer in said.notes[0]) == ("Waiting", True)


def test_approvals_of_different_cards_do_not_add_up():
    assert verdict(approval("ann"), approval("bob", card=OTHER)).state == "Waiting"
    both = verdict(approval("ann"), approval("bob", card=OTHER), approval("cem"))
    assert (both.state, both.cards, both.message) == ("Approved", {CARD}, "approved by ann, cem")


def test_one_approver_counts_once():
    assert verdict(approval("ann"), approval("ann")).state == "Waiting"


def test_a_public_key_that_is_none_approves_nothing():
    said = release.verdict([Approver("ann", "AAAA")], 1, [approval("ann")], UID, MODEL)
    assert said.state == "Waiting"
