"""The signatures of a job's updates, by its commits and the sites' keys alone: the first that is wrong is named."""

import hashlib

import pytest

from fedapi.wire import statement
from fedapi.wire.commit import CommitRecord, Participant
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.signature import Signed
from fedapi.wire.store import Head
from fedstore import sitesignatures
from fedstore.memory import MemoryStore
from tests.integration.fedaggregator.signing import key, public

LAYOUT = Layout("lab", "job", "uid")
A, B = key(1), key(2)


def signed(commit, client, by, **changes):
    bare = Participant(client=client, samples=5, payloads={"update": "b" * 64}, steps=3)
    mark = Signed(key_id=by.id, signature="A" * 86 + "==", body_sha256="c" * 64)
    text = statement.of_participant(commit, bare, mark)
    made = bare.model_copy(update={"signed": mark.model_copy(update={"signature": by.signature(text)})})
    return made.model_copy(update=changes)


def unsigned(_, client):
    return Participant(client=client, samples=5, payloads={"update": "b" * 64})


def stored(*rounds, uid="uid"):
    """A job whose rounds have these participants, each made for its commit."""
    store, previous = MemoryStore(), None
    for number, made in enumerate(rounds):
        model = ObjectRef(key=LAYOUT.model(number, "a" * 64), sha256="a" * 64, size=1)
        bare = CommitRecord(
            job_uid=uid,
            round=number,
            attempt=1,
            epoch=1,
            model=model,
            planned_at=number * 100.0,
            committed_at=1.0,
            previous_sha256=previous,
        )
        data = bare.model_copy(update={"participants": tuple(each(bare) for each in made)}).sealed().canonical()
        where = LAYOUT.record(number, 1, 1, "commit.json")
        store.put_once(where, data)
        previous = hashlib.sha256(data).hexdigest()
    head = Head(epoch=1, round=len(rounds) - 1, commit_key=where, commit_sha256=previous, lineage=("before",))
    store.replace_head(LAYOUT.head, head.sealed().canonical(), None)
    return store


def checked(store, **keys):
    return sitesignatures.checked(store, LAYOUT, {name: tuple(known) for name, known in keys.items()})


def a(**changes):
    return lambda commit: signed(commit, "a", A, **changes)


def test_each_update_is_verified_and_sites_without_a_key_are_counted():
    store = stored([], [a(), lambda c: unsigned(c, "b")], [a(), lambda c: signed(c, "b", B)])
    found = checked(store, a=[public(A)])
    assert (found.verified, dict(found.keyless), found.wrong) == (2, {"b": 2}, "")
    assert checked(store, a=[public(A, revoked=True)]).verified == 2


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (a(samples=6), "is not what key"),
        (a(steps=4), "is not what key"),
        (a(payloads={"update": "d" * 64}), "is not what key"),
        (lambda c: signed(c.model_copy(update={"round": 9}), "a", A), "is not what key"),
        (lambda c: signed(c, "a", B), "which is none of the site's"),
        (lambda c: unsigned(c, "a"), "is not signed, and the site has a key"),
    ],
)
def test_the_first_update_that_is_not_its_sites_is_named(forged, why):
    found = checked(stored([], [a()], [forged], [a()], [forged]), a=[public(A)])
    assert found.wrong.startswith("control/lab/job-uid/rounds/000002/")
    assert "the update of site 'a' in round 2" in found.wrong
    assert why in found.wrong


def test_before_a_site_had_a_key_it_signed_nothing():
    store = stored([], [lambda c: unsigned(c, "a")], [a()])
    assert checked(store, a=[public(A, not_before=150.0)]).wrong == ""
    assert "round 1 is not signed" in checked(store, a=[public(A, not_before=50.0)]).wrong


def test_an_update_that_was_sent_before_a_restore_names_the_job_before():
    def before(commit):
        return signed(commit.model_copy(update={"job_uid": "before"}), "a", A)

    def stranger(commit):
        return signed(commit.model_copy(update={"job_uid": "stranger"}), "a", A)

    assert checked(stored([], [before]), a=[public(A)]).verified == 1
    assert checked(stored([], [stranger]), a=[public(A)]).wrong
