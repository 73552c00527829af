"""Who is heard, by which key, and what becomes of the signature of an update that is taken."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedaggregator.status import status
from fedapi.wire import statement
from fedapi.wire.protocol import FEATURES, KEY, PROTOCOL, SIGNATURES
from fedapi.wire.signature import SiteKey
from fedapi.wire.signing import SigningKey, signed
from fedapi.wire.site import EvaluationReport
from fedapi.wire.update import UpdateEnvelope
from fedcore.rounds import machine, planning, signatures
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.effects import Fold
from fedcore.rounds.events import Accepted, Configured, Evaluated, Folded, Heard
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds import test_round_rules as rules

OURS, OLD, THEIRS = (SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2, 3))
KNOWN = (
    SiteKey(public_key=OURS.public_key, not_before=100.0, not_after=200.0),
    SiteKey(public_key=OLD.public_key, revoked=True),
)
TEXT = b"said"


def by(key: SigningKey, text: bytes = TEXT) -> tuple[str, str]:
    return key.id, key.signature(text)


@pytest.mark.parametrize(
    ("shown", "now", "code", "told"),
    [
        (by(OURS), 150.0, None, ""),
        (by(OURS), 100.0, None, ""),
        (by(OURS), 99.9, "UnknownKey", "is not valid now"),
        (by(OURS), 200.0, "UnknownKey", "is not valid now"),
        ((None, None), 150.0, "Unsigned", "is not signed"),
        ((OURS.id, None), 150.0, "Unsigned", "is not signed"),
        ((None, OURS.signature(TEXT)), 150.0, "Unsigned", "is not signed"),
        (by(THEIRS), 150.0, "UnknownKey", "put its public key there"),
        (by(OLD), 150.0, "RevokedKey", "is revoked"),
        (by(OURS, b"other"), 150.0, "WrongSignature", "is not over this message"),
        ((OURS.id, THEIRS.signature(TEXT)), 150.0, "WrongSignature", "is not over this message"),
    ],
)
def test_a_site_with_keys_is_heard_by_a_valid_one_alone(shown, now, code, told):
    refusal = signatures.refusal(KNOWN, "a", shown, TEXT, now)
    assert (refusal.code if refusal else None) == code
    assert told in (refusal.message if refusal else "")


def test_a_site_without_keys_signs_nothing():
    assert signatures.refusal((), "a", (None, None), TEXT, 0.0) is None
    assert signatures.refusal((), "a", by(THEIRS), TEXT, 0.0) is None
    assert not signatures.doubt((), (None, None), TEXT)


@pytest.mark.parametrize(
    ("shown", "doubt"),
    [
        (by(OURS), ""),
        (by(OLD), ""),  # signed before it was revoked
        ((None, None), "not signed"),
        (by(THEIRS), "none of its site's"),
        (by(OURS, b"other"), "is not over it"),
    ],
)
def test_what_was_taken_stays_taken_whatever_became_of_its_key(shown, doubt):
    assert doubt in signatures.doubt(KNOWN, shown, TEXT)
    assert bool(doubt) == bool(signatures.doubt(KNOWN, shown, TEXT))


def test_a_site_with_keys_whose_trainer_has_none_gets_no_order():
    state = rules.collecting(identities={"a": KNOWN}, quorum=1)
    assert not planning.misfit(state, "a"), "it has not spoken yet"
    able, unable = (Speech(PROTOCOL, 2, frozenset(f)) for f in ((*FEATURES, SIGNATURES, f"{KEY}{OURS.id}"), FEATURES))
    for client in "ba":
        state, _ = machine.step(state, Heard(11.0, (client,), {client: unable}))
    assert "its trainer has none to sign by" in planning.misfit(state, "a")
    assert state.current is None or "a" not in state.current.pending, "nobody waits for it"
    assert not planning.misfit(state, "b"), "a site without keys need not sign"
    state, _ = machine.step(state, Heard(12.0, ("a",), {"a": able}))
    assert not planning.misfit(state, "a")
    for key in (OLD, THEIRS):
        said = Speech(PROTOCOL, 2, frozenset((*FEATURES, SIGNATURES, f"{KEY}{key.id}")))
        state, _ = machine.step(state, Heard(13.0, ("a",), {"a": said}))
        assert f"signs by a key {key.id}, which is revoked or not in" in planning.misfit(state, "a")


@pytest.mark.parametrize(("now", "selected"), [(99.0, False), (100.0, True), (199.0, True), (200.0, False)])
def test_a_site_is_selected_while_its_key_is_valid(now, selected):
    """Before and after it waits, and is told why: it is no reason to end its process."""
    state = replace(rules.collecting(identities={"a": KNOWN}), phase=Phase.WAITING, current=None)
    said = Speech(PROTOCOL, 2, frozenset((*FEATURES, SIGNATURES, f"{KEY}{OURS.id}")))
    state, _ = machine.step(state, Heard(now, ("a", "b"), {"a": said}))
    assert ("a" in planning.reachable(state, now), "a" in planning.connected(state, now)) == (selected, selected)
    assert planning.misfit(state, "a") == ""
    site = next(each for each in status(state)["clients"] if each["name"] == "a")
    assert ("is not valid now" in site["message"], site["state"]) == (not selected, "Training" if selected else "Idle")


def test_a_site_that_signs_by_another_key_from_then_on_is_selected_again():
    state = rules.collecting(identities={"a": (KNOWN[0], SiteKey(public_key=THEIRS.public_key))})
    for key, reachable in ((OURS, False), (THEIRS, True)):
        said = Speech(PROTOCOL, 2, frozenset((*FEATURES, SIGNATURES, f"{KEY}{key.id}")))
        state, _ = machine.step(state, Heard(200.0, ("a",), {"a": said}))
        assert ("a" in planning.reachable(state, 200.0)) is reachable


def accepted(state, client, key):
    manifest = rules.manifest(state, client)
    kept = statement.signed(signed(key, UpdateEnvelope(body=manifest))) if key else None
    return machine.step(state, Accepted(20.0, manifest, kept))[0], kept


def test_the_signature_of_an_update_is_committed_with_it_and_then_let_go():
    state, kept = accepted(rules.collecting(), "a", OURS)
    assert state.signed == {("a", 1, 1): kept}
    state, _ = accepted(state, "b", None)
    state, effects = machine.step(state, Folded(30.0, 1, 1, rules.ref(rules.C)))
    commit = next(each.commit for each in effects if hasattr(each, "commit"))
    assert [(p.client, p.signed) for p in commit.participants] == [("a", kept), ("b", None)]
    assert not state.signed
    participant = commit.participants[0]
    assert not signatures.doubt(
        (SiteKey(public_key=OURS.public_key),),
        (kept.key_id, kept.signature),
        statement.of_participant(commit, participant, participant.signed),
    )


def test_a_changed_roster_acts_at_once():
    state = rules.collecting()
    assert signatures.keys(state, "a") == ()
    state, _ = machine.step(state, Configured(15.0, rules.config(identities={"a": KNOWN})))
    assert signatures.keys(state, "a") == KNOWN
    assert replace(state).signed == {}


def revoking(state):
    """Both sites spoke; then the key of one is revoked."""
    said = Speech(PROTOCOL, 2, frozenset((*FEATURES, SIGNATURES, f"{KEY}{OURS.id}")))
    state, _ = machine.step(state, Heard(11.0, ("a", "b"), {"a": said, "b": said}))
    revoked = (SiteKey(public_key=OURS.public_key, revoked=True),)
    identities = {**state.config.identities, "a": revoked}
    return machine.step(state, Configured(15.0, state.config.model_copy(update={"identities": identities})))[0]


SIGNING = {client: (SiteKey(public_key=OURS.public_key),) for client in "ab"}


def test_a_round_does_not_wait_for_a_site_whose_key_is_revoked():
    state = revoking(rules.collecting(identities=SIGNING, quorum=1))
    assert "revoked" in state.current.failed["a"]
    assert state.site("a").failures == 1
    state, effects = rules.accept(state, "b")
    assert [term.client for effect in effects if isinstance(effect, Fold) for term in effect.terms] == ["b"]


@pytest.mark.parametrize("when", ["before", "in"])
def test_the_last_evaluation_does_not_wait_for_it_either(when):
    state = rules.collecting(identities=SIGNING, rounds=1)
    state, _ = rules.accept(state, "a")
    state = revoking(state) if when == "before" else state
    state, _ = rules.accept(state, "b")
    state, _ = machine.step(state, Folded(30.0, 1, 1, rules.ref(rules.C)))
    state = revoking(state) if when == "in" else state
    assert (state.phase, state.excused) == (Phase.EVALUATING, {"a"})
    said = {"model_sha256": state.tip.model.sha256, "samples": 1, "metrics": {"accuracy": 1.0}}
    state, _ = machine.step(state, Evaluated(31.0, EvaluationReport(job_uid="uid", round=1, client="b", **said)))
    assert state.end.result == "Succeeded"
