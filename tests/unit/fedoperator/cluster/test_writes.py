"""Writes to objects that are gone, or others by now: the cache forgets them, and the job is looked at again at once."""

import pytest

from fedoperator.cluster.cache import Cache
from fedoperator.cluster.writes import Writer
from fedoperator.errors import GoneError, RefusedError, RetryLaterError

LIVE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"namespace": "ns", "name": "x", "uid": "u1", "resourceVersion": "5"},
}  # read by name: it has lost its labels, so that no watch will ever report its end


class Api:
    """Answers every write with one error."""

    def __init__(self, error):
        self.error = error

    def request(self, *_words, **_options):
        raise self.error


def known(error) -> tuple[Writer, Cache]:
    cache = Cache()
    writer = Writer(Api(error), cache, lambda *_: None, "test")
    writer.take(LIVE)
    return writer, cache


WRITES = {
    "apply": lambda writer: writer.apply({**LIVE, "data": {}}, LIVE),
    "merge": lambda writer: writer.merge(LIVE, {"data": {}}),
    "suspend": lambda writer: writer.suspend(LIVE, suspend=True),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.parametrize(
    ("error", "there"),
    [
        (GoneError('configmaps "x" not found'), False),
        (RetryLaterError("Precondition failed: UID in precondition: u1, UID in object meta: u2", conflict=True), False),
        (RefusedError("metadata.uid: Invalid value: field is immutable", 422), False),
        (RetryLaterError("the object has been modified", conflict=True), True),
    ],
    ids=["gone", "another", "another, to a merge", "newer"],
)
def test_an_object_that_is_not_there_any_more_is_forgotten(write, error, there):
    writer, cache = known(error)
    with pytest.raises(RetryLaterError) as raised:
        write(writer)
    assert raised.value.conflict, "looked at again soon, and not as one whose namespace goes away"
    assert (cache.get("ConfigMap", "ns", "x") is not None) is there


@pytest.mark.parametrize(("words", "kind", "there"), [("metadata.uid: Invalid value", RetryLaterError, False), ("data: Invalid", RefusedError, True)])  # fmt: skip
def test_an_apply_to_an_object_that_was_replaced_is_told_from_one_that_is_refused(words, kind, there):
    writer, cache = known(RefusedError(words, 422))
    with pytest.raises(kind):
        WRITES["apply"](writer)
    assert (cache.get("ConfigMap", "ns", "x") is not None) is there


def test_a_deletion_of_what_was_replaced_is_done_and_of_what_is_contested_is_not():
    words = "the UID in the precondition (u1) does not match the UID in record (u2)"
    writer, cache = known(RetryLaterError(words, conflict=True))
    writer.delete(LIVE)
    assert cache.get("ConfigMap", "ns", "x") is None
    writer, cache = known(RetryLaterError("the server is busy", conflict=True))
    with pytest.raises(RetryLaterError):
        writer.delete(LIVE)
    assert cache.get("ConfigMap", "ns", "x") is not None
