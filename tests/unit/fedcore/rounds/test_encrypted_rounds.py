"""Rounds whose updates are encrypted: kills of the hub, lost sites and makers, sums that take long, and what is refused."""

import hashlib

import numpy as np
import pytest

from fedapi.wire.encryptedsum import OpenedSum
from fedapi.wire.message import ObjectRef
from fedapi.wire.protocol import ENCRYPTED_SUMS, FEATURES, PROTOCOL
from fedapi.wire.site import Refusal, UploadRequest
from fedapi.wire.store import FailureRecord
from fedcore.homomorphic import site
from fedcore.rounds import admission, assignment, claims, machine, planning, secure
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.events import FoldFailed, Heard, UpdatesDamaged
from fedcore.rounds.state import Phase
from fedcore.secagg import site as masked_site
from tests.unit.fedcore.rounds.encrypted_round import EncryptedFederation, encrypted_config, sum_of
from tests.unit.fedcore.rounds.masked_round import STEPS, Federation, attempt, config, settings
from tests.unit.fedcore.secagg.federation import signing_key

ALL = "abcde"


def up_to(step: str, **values) -> EncryptedFederation:
    """A federation whose attempt has come to that step, in which nobody has done anything yet."""
    federation = EncryptedFederation(**values).start()
    for before in STEPS[: STEPS.index(step)]:
        for name in ALL:
            if federation.step == before:
                federation.go_on(name)
    assert federation.step == step
    return federation


def test_a_round_without_losses_gives_the_sum_and_commits_all():
    federation = EncryptedFederation().start()
    plan = federation.state.current.plan
    assert (plan.secure.scheme, plan.secure.threshold, plan.secure.minimum_cohort) == ("CKKS", 3, 2)
    attempt(federation, {})
    assert np.array_equal(federation.total(), sum_of(ALL))
    assert [each.client for each in federation.commit().participants] == list(ALL)
    attempt(federation, {})
    assert np.array_equal(federation.total(), sum_of(ALL, 2))


@pytest.mark.parametrize("killed", [frozenset({at}) for at in range(5)] + [frozenset(range(5))])
def test_a_hub_that_is_killed_in_a_step_gives_the_same_sum(killed):
    federation = EncryptedFederation().start()
    lost = "a"
    attempt(federation, {lost: STEPS.index("Mask")}, killed)
    if not federation.folds:  # it was to make the key
        attempt(federation, {lost: 0}, killed)
    assert federation.epoch > 1
    counted = {term.client for term in federation.folds[-1].terms}
    assert counted == set(ALL) - {lost}
    assert np.array_equal(federation.total(), sum_of(counted))


def maker(federation: EncryptedFederation) -> str:
    (name,) = federation.state.current.secure.sharing
    return name


def test_the_maker_alone_is_asked_for_a_key_and_where_it_is_lost_another_one_is():
    federation = up_to("Share")
    first = maker(federation)
    assert {federation.answer(name).step for name in ALL if name != first} == {"Wait"}
    assert federation.answer(first).step == "Share"
    federation.close_step()
    (failure,) = federation.of(FailureRecord)
    assert failure.reason == "SecureAggregationFailed"
    assert f"site {first!r} was to make the key, and did not" in failure.message
    assert failure.maker == first


def test_no_site_is_to_make_the_key_twice_in_a_round_before_all_were():
    federation = EncryptedFederation(config=encrypted_config(max_failures=9)).start()
    makers = []
    for number in range(len(ALL) + 1):
        for name in ALL:
            federation.go_on(name)
        assert federation.step == "Share"
        makers.append(maker(federation))
        if number % 2:
            federation.kill()
            assert maker(federation) == makers[-1]
        if number == 1:  # a key that others cannot use
            federation.go_on(makers[-1])
            for name in ALL:
                federation.fail(name)
        else:
            federation.close_step()
    assert sorted(makers[: len(ALL)]) == list(ALL)
    attempt(federation, {})
    federation.commit()
    assert federation.state.current.plan.secure.earlier_makers == ()


def test_a_maker_that_says_it_has_failed_is_not_waited_for():
    federation = up_to("Share")
    federation.fail(maker(federation))
    (failure,) = federation.of(FailureRecord)
    assert "TaskFailed" in failure.message


def test_sites_wait_for_the_sum_and_no_time_ends_the_step_meanwhile():
    federation = up_to("Consent", held=[])
    for name in ALL:
        federation.go_on(name)
    (order,) = federation.held
    assert [term.client for term in order.of.terms] == list(ALL)
    assert {federation.answer(name).step for name in ALL} == {"Wait"}
    plan = federation.state.current.plan
    assert secure.offered(federation.state, "a", plan.round, plan.attempt) is None
    assert machine.wakes_at(federation.state) is None
    federation.now += 1e6
    federation.hear()
    assert federation.step == "Open"
    federation.held, before = None, federation.state
    federation.do(federation.added_up(order))
    assert assignment.concerned(before, federation.state) is None, "all that wait are answered"
    for name in ALL:
        federation.go_on(name)
    assert np.array_equal(federation.total(), sum_of(ALL))


def test_a_sum_is_made_anew_by_the_next_hub():
    federation = up_to("Consent", held=[])
    for name in ALL:
        federation.go_on(name)
    federation.kill()
    first, second = federation.held
    assert first.of.terms == second.of.terms


def test_what_sites_have_read_is_taken_while_the_next_hub_adds_up_anew():
    federation = up_to("Open")
    plan = federation.state.current.plan
    read = {name: federation.read(name, federation.answer(name).sum) for name in ALL}
    federation.held = []
    federation.kill()
    (order,) = federation.held
    for name, numbers in read.items():
        request = UploadRequest(round=plan.round, attempt=plan.attempt, sha256=numbers.sha256, size=32)
        assert admission.unwanted(federation.state, name, plan.round, plan.attempt) is None
        assert isinstance(admission.upload(federation.state, name, request), ObjectRef)
        assert federation.say(name, numbers=numbers) is not None
        assert federation.answer(name).step == "Over"
    assert federation.folds == []
    federation.do(federation.added_up(order))
    assert np.array_equal(federation.total(), sum_of(ALL))


@pytest.mark.parametrize("failed", [True, False])
def test_a_sum_that_there_is_none_fails_the_attempt(failed):
    federation = up_to("Consent", held=[])
    for name in ALL:
        federation.go_on(name)
    key = federation.held[0].of.terms[0].payloads["update"].object.key
    event = (
        FoldFailed(federation.now, 1, 1, "SecureAggregationFailed", "it cannot be added")
        if failed
        else UpdatesDamaged(federation.now, 1, 1, {key: f"{key}: it is gone"})
    )
    federation.do(event)
    (failure,) = federation.of(FailureRecord)
    assert failure.reason == ("SecureAggregationFailed" if failed else "UpdateDamaged")
    assert federation.state.current.plan.attempt == 2


def test_sites_that_say_different_sums_fail_the_attempt_by_name():
    federation = up_to("Open")
    for name in ALL:
        if name == "c":
            lie = OpenedSum(site=name, sha256=hashlib.sha256(b"lie").hexdigest())
            federation.say(name, numbers=lie)
        else:
            federation.go_on(name)
    (failure,) = federation.of(FailureRecord)
    assert "of a, b, d, e" in failure.message
    assert "of c" in failure.message


@pytest.mark.parametrize(("openers", "enough"), [("a", False), ("ab", True)])
def test_two_sites_must_say_the_same(openers, enough):
    federation = up_to("Open")
    for name in openers:
        federation.go_on(name)
    federation.close_step()
    assert (federation.state.phase is Phase.FOLDING) == enough
    if enough:
        assert [term.client for term in federation.folds[-1].terms] == list(ALL)


def test_numbers_are_uploaded_by_sites_that_are_asked_for_them_alone():
    federation = up_to("Open")
    plan = federation.state.current.plan
    request = UploadRequest(round=plan.round, attempt=plan.attempt, sha256="a" * 64, size=32)
    assert admission.upload(federation.state, "a", request).size == 32
    assert admission.unwanted(federation.state, "a", plan.round, plan.attempt) is None
    wrong = admission.upload(federation.state, "a", request.model_copy(update={"size": 31}))
    assert (wrong.code, "32 bytes" in wrong.message) == ("WrongSize", True)
    federation.go_on("a")
    assert isinstance(admission.upload(federation.state, "a", request), Refusal)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tag": None}, "payloads.update.tag is missing"),
        ({"tag": b"\xff" * 16}, "payloads.update.tag: a tag is not two numbers"),
        ({"masked": False}, "payloads.update.masked is false, and updates are summed by encryption"),
        ({"size": 32}, "payloads.update.object.size is not 65536, of 8 values by encryption"),
    ],
)
def test_an_encrypted_update_is_what_the_order_says(values, words):
    federation = up_to("Mask")
    good = federation.manifest("a", "f" * 64)
    payload = good.payloads["update"]
    object_ = payload.object.model_copy(update={"size": values.get("size", payload.object.size)})
    changed = payload.model_copy(
        update={"object": object_} | {key: each for key, each in values.items() if key != "size"}
    )
    bad = good.model_copy(update={"payloads": {"update": changed}})
    assert admission.update(federation.state, "a", good) is None
    refused = admission.update(federation.state, "a", bad)
    assert (refused.code, words in refused.message) == ("Malformed", True), refused.message


def test_an_update_is_not_said_to_be_the_numbers_of_the_sum():
    """It is in the store under that name, with another size, for which a bucket would have it deleted."""
    federation = up_to("Open")
    own = OpenedSum(site="a", sha256=federation.state.accepted["a"].payloads["update"].object.sha256)
    refused = federation.say("a", numbers=own)
    assert "is that of its own update" in refused.message
    assert federation.answer("a").step == "Open"


def test_what_is_of_masks_is_refused():
    federation = up_to("Share")
    name = maker(federation)
    own = federation.site(name).exchange
    shares = masked_site.share(own, federation.answer(name).participants)[1]
    assert "what is said is of masked ones" in federation.say(name, shares=shares).message
    key = site.share(federation.site(name), federation.answer(name).participants)[1]
    other = next(each for each in ALL if each != name)
    assert (
        "is not the one that makes the key" in federation.say(other, key=key.model_copy(update={"site": other})).message
    )


def test_a_trainer_without_the_library_gets_no_order():
    federation = EncryptedFederation().start()
    features = frozenset({*FEATURES, "signatures"})
    federation.do(Heard(federation.now, ("a",), {"a": Speech(PROTOCOL, PROTOCOL, features)}))
    assert "privacy.homomorphicEncryption, for which it needs TenSEAL" in planning.misfit(federation.state, "a")
    able = Speech(PROTOCOL, PROTOCOL, features | {ENCRYPTED_SUMS})
    federation.do(Heard(federation.now, ("b",), {"b": able}))
    assert "TenSEAL" not in planning.misfit(federation.state, "b")


def test_a_consent_signs_as_with_masks():
    federation = up_to("Consent")
    survivors = federation.answer("a").survivors
    _, consent = site.consent(federation.site("a"), survivors, signing_key("b").sign)
    assert "did not sign this survivor set" in federation.say("a", consent=consent).message


@pytest.mark.parametrize(
    ("federation", "field"),
    [
        (Federation(config(secure=settings(overflow="Clip"))), "privacy.secureAggregation.valueRange"),
        (EncryptedFederation(), "privacy.homomorphicEncryption.valueRange"),
    ],
)
def test_what_was_clipped_is_told_with_the_field_that_says_the_range(federation, field):
    federation.start()
    said = federation.manifest("a", "0" * 64)
    clipped = {name: payload.model_copy(update={"clipped": 3}) for name, payload in said.payloads.items()}
    told = claims.taken(federation.state, said.model_copy(update={"payloads": clipped}))
    assert told.message.startswith(f"warning: 3 values of its update of round 1 were larger than {field} and were")
