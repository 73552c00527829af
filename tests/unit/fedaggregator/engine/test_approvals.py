"""Decisions on the release are told once each, in their order, and a release whenever enough approve anew."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedaggregator.engine import approvals
from fedaggregator.engine.approvals import Final
from fedaggregator.engine.ledger import Ledger
from fedapi import released
from fedapi.crd.release import Release
from fedapi.wire import release
from fedapi.wire.layout import Layout
from fedapi.wire.release import Approval
from fedapi.wire.signing import SigningKey
from fedcli import ledgerapprovals
from fedcli.errors import CommandError
from fedcore.ledger.entries import Entry
from fedstore.memory import MemoryStore

LAYOUT = Layout("ns", "job", "uid")
KEYS = {name: SigningKey(Ed25519PrivateKey.from_private_bytes(name[:1].encode() * 32)) for name in ("ann", "bob")}
FINAL = Final("uid", "a" * 64)


def decision(name, said="Approve", uid="uid", model=FINAL.model_sha256, number=0):
    made = release.signed(KEYS[name], uid, Approval(name, said, model, "c" * 64, "", number))
    return released.in_spec(made).dump()


def asked(*decisions, required=2):
    approvers = [{"name": name, "publicKey": key.public_key} for name, key in KEYS.items()]
    return Release.model_validate({"approvers": approvers, "required": required, "approvals": list(decisions)})


class Told:
    """A ledger in memory, each time as another process finds it."""

    def __init__(self):
        self.ledger = Ledger(MemoryStore(), LAYOUT, bytes(32), lambda: 1.0)

    def tell(self, *decisions, dies=False, **options):
        """The kinds of the entries that are new."""
        before = self.entries
        status = approvals.told(self.ledger, asked(*decisions, **options), FINAL, before)
        if dies:
            self.ledger.begin()  # what is not durable did not happen
            return status
        self.ledger.write()
        self.ledger.load(None, inherits=False)
        return [each.kind for each in self.entries[len(before) :]]

    @property
    def entries(self):
        return self.ledger.since(None)


def test_each_is_told_once_and_the_release_when_enough_approve():
    told = Told()
    assert told.tell(decision("ann")) == ["approved"]
    assert told.tell(decision("ann")) == []
    assert told.tell(decision("ann"), decision("bob")) == ["approved", "released"]
    assert told.tell(decision("bob"), decision("ann")) == []
    assert told.entries[-1].facts["approvers"] == ["ann", "bob"]


def test_who_decides_anew_is_told_anew():
    told = Told()
    assert told.tell(decision("ann"), required=1) == ["approved", "released"]
    assert told.tell(decision("ann", "Reject", number=1), required=1) == ["rejected"]
    assert told.tell(decision("ann", number=2), required=1) == ["approved", "released"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_older_decision_is_not_told_after_a_newer_one_and_the_status_keeps_the_newer(number):
    """Whoever puts it back: number 0 is that of decisions without one, and of two with one number the rejection holds."""
    told, newer = Told(), decision("ann", "Reject", number=number)
    assert told.tell(decision("ann", number=number), required=1) == ["approved", "released"]
    assert told.tell(newer, required=1) == ["rejected"]
    for older in range(number + 1):
        assert told.tell(decision("ann", number=older), required=1) == []
        said = approvals.told(told.ledger, asked(decision("ann", number=older), required=1), FINAL, told.entries)
        assert [each.signature for each in said.recorded] == [newer["signature"]]
    assert told.tell(decision("ann", number=number + 1), required=1) == ["approved", "released"]
    assert told.tell(newer, required=1) == [], "nor is an older rejection"


@pytest.mark.parametrize("instead", [[], [decision("bob", uid="another")], [decision("bob", model="b" * 64)]])
def test_a_rejection_that_was_taken_out_is_still_said_and_releases_nothing(instead):
    told, no = Told(), decision("bob", "Reject")
    assert told.tell(no, required=1) == ["rejected"]
    assert told.tell(decision("ann"), *instead, required=1) == ["approved"]
    said = approvals.told(told.ledger, asked(decision("ann"), *instead, required=1), FINAL, told.entries)
    assert [(each.approver, each.decision) for each in said.recorded] == [("ann", "Approve"), ("bob", "Reject")]
    assert told.tell(decision("ann"), decision("bob", number=1), required=1) == ["approved", "released"]


def test_a_process_that_dies_before_it_is_durable_leaves_it_to_the_next():
    told = Told()
    told.tell(decision("ann"), dies=True, required=1)
    assert told.entries == []
    assert told.tell(decision("ann"), required=1) == ["approved", "released"]


@pytest.mark.parametrize("other", [{"uid": "another"}, {"model": "b" * 64}], ids=["job", "model"])
def test_what_does_not_count_is_not_told(other):
    told = Told()
    assert told.tell(decision("ann", **other), required=1) == []
    assert approvals.told(told.ledger, asked(decision("ann", **other)), FINAL, []).recorded == []


def test_what_the_ledger_tells_of_the_job_before_a_restore_is_not_taken_for_this_one():
    told = Told()
    told.tell(decision("ann"), required=1)
    others = [Entry(each.kind, each.at_ms, {**each.facts, "job_uid": "before"}) for each in told.entries]
    approvals.told(told.ledger, asked(decision("ann"), required=1), FINAL, others)
    told.ledger.write()
    assert [each.kind for each in told.entries] == ["approved", "released"] * 2


def test_who_verifies_the_ledger_verifies_the_signatures_of_the_approvers():
    told = Told()
    told.tell(decision("ann"), decision("bob", "Reject", number=3), required=1)
    lines = [*ledgerapprovals.told(told.entries)]
    assert [line.split(" model")[0] for line in lines] == ["entry 0: ann has approved", "entry 1: bob has rejected"]
    assert [line.rpartition(", ")[2] for line in lines] == ["number 0", "number 3"]
    turned = [Entry("approved", each.at_ms, each.facts) for each in told.entries]
    with pytest.raises(CommandError, match="entry 1 is not signed by the key of bob"):
        [*ledgerapprovals.told(turned)]
    older = Told()
    older.tell(decision("bob", number=2), required=1)
    with pytest.raises(CommandError, match="entry 2 is decision 2 of bob, who had made decision 3 before"):
        [*ledgerapprovals.told([*told.entries, older.entries[0]])]


def test_a_release_is_shown():
    told = Told()
    told.tell(decision("ann"), required=1)
    assert [*ledgerapprovals.told(told.entries)][-1].endswith(f"model {'a' * 64} was released, as ann approved")
