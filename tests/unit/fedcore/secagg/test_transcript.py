"""All that is said in one attempt, byte by byte: with given seeds and keys nothing of it is left to chance.

A digest that changes means that hub and sites of two versions no longer have the same keys: then the labels in keys.py and the
terms need a version, for an attempt that one of them began must not go on with the other.
"""

import hashlib

from tests.unit.fedcore.secagg.federation import MASK, Federation, terms

SAID = {
    "context": "d9d953a00bf3f928",
    "participants": "14cfb132a2b49a11",
    "shares": "54e4945a96dcbbe3",
    "survivors": "159c29eee387b3bd",
    "request": "36321ed7ed18c72d",
    "openings": "e0a06d9be4672793",
    "masked": "cace1de8e0434f78",
}


def test_an_attempt_is_the_same_to_the_byte():
    federation = Federation.of(terms(5, 3, items=50), {"site-003": MASK})
    federation.run()
    state = federation.hub
    said = {
        "context": state.terms.context(),
        "participants": state.participants.canonical() + state.participants.fingerprint(),
        "shares": b"".join(each.canonical() for each in state.shares.values()),
        "survivors": state.survivors.canonical(),
        "request": state.request.canonical(),
        "openings": b"".join(each.canonical() for each in state.openings.values()),
        "masked": b"".join(vector.tobytes() for vector in federation.sent.values()),
    }
    assert {name: hashlib.sha256(data).hexdigest()[:16] for name, data in said.items()} == SAID
