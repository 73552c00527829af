"""Anything at all in the place of a message, of a share or of an update: read, or refused with a reason, and sums stay exact."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from fedapi.wire import secagg
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedcore.secagg import hub, keys, masking, shamir, site
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from fedcore.secagg.hub import HubState
from fedcore.secagg.masking import Mask
from fedcore.secagg.quantization import Scale
from fedcore.secagg.site import SiteState
from tests.unit.fedcore.secagg.federation import MASK, Federation, signing_key, terms

MESSAGES = (
    secagg.Terms, secagg.Advertisement, secagg.Participants, secagg.Shares, secagg.Delivery, secagg.SurvivorSet,
    secagg.Consent, secagg.UnmaskRequest, secagg.Opening,
)  # fmt: skip
BYTES = st.binary(min_size=32, max_size=32)
SMALL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def said():
    """One message of each kind, of an attempt that lost a site."""
    federation = Federation.of(terms(4, 3, items=8), {"site-003": MASK})
    participants = federation.advertise()
    given_ = federation.share(participants)
    survivors = federation.mask(given_)
    request = federation.consent(survivors)
    federation.open(request)
    state = federation.hub
    each = (
        state.terms, participants.advertisements[0], participants, state.shares["site-000"], given_["site-000"],
        survivors, request.consents[0], request, state.openings["site-000"],
    )  # fmt: skip
    return federation, dict(zip(MESSAGES, each, strict=True))


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(MESSAGES), data=st.binary(max_size=200) | SMALL.map(lambda it: json.dumps(it).encode()))
def test_any_bytes_as_a_message(kind, data):
    for read in (kind.model_validate_json, kind.told):
        with suppress(ValidationError):
            read(data)


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(MESSAGES), data=st.data())
def test_a_message_with_anything_in_one_field(said, kind, data):
    """What is read all the same goes through the state machines, which take it or refuse it."""
    federation, messages = said
    table = json.loads(messages[kind].canonical())
    table[data.draw(st.sampled_from(sorted(table)))] = data.draw(SMALL | st.sampled_from(list(table.values())))
    try:
        changed = kind.model_validate_json(json.dumps(table))
    except ValidationError:
        return
    _taken(federation, changed)


def _taken(federation, changed):
    name = "site-000"
    state, late = federation.hub, federation.sites[name]
    fresh = site.start(name, federation.terms, federation.terms.roster, late.seed)
    shared = fresh.model_copy(update={"participants": late.participants})
    unsigned = late.model_copy(update={"survivors": None})
    sign = signing_key(name).sign
    steps = {
        secagg.Terms: lambda: site.start(name, changed, federation.terms.roster, bytes(32)),
        secagg.Advertisement: lambda: hub.advertised(state, changed),
        secagg.Participants: lambda: site.share(fresh, changed),
        secagg.Shares: lambda: hub.shared(state, changed),
        secagg.Delivery: lambda: site.mask(shared, changed, np.zeros(8, np.uint32)),
        secagg.SurvivorSet: lambda: site.consent(unsigned, changed, sign),
        secagg.Consent: lambda: hub.consented(state, changed),
        secagg.UnmaskRequest: lambda: site.open_(late, changed),
        secagg.Opening: lambda: hub.masks(hub.opened(state, changed)),
    }
    with suppress(RefusedError, AttemptFailedError):
        steps[type(changed)]()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), kind=st.sampled_from([SiteState, HubState]))
def test_a_damaged_state_is_found_out(said, data, kind):
    """In any byte but those of the checksum's name, without which a record is one of version 0.1."""
    federation, _ = said
    whole = (federation.hub if kind is HubState else federation.sites["site-000"]).sealed().canonical()
    name = whole.index(b'"checksum"')
    at = data.draw(st.integers(0, len(whole) - 1).filter(lambda n: not name <= n < name + 10))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    with pytest.raises((DamagedRecordError, NewerRecordError)):
        kind.stored(changed)


@settings(max_examples=200, deadline=None)
@given(
    secret=BYTES, key=BYTES, threshold=st.integers(1, 8), spare=st.integers(0, 8), data=st.data(),
)  # fmt: skip
def test_any_secret_from_any_threshold_shares(secret, key, threshold, spare, data):
    places = data.draw(
        st.lists(st.integers(1, 2000), min_size=threshold + spare, max_size=threshold + spare, unique=True)
    )
    made = shamir.shares(secret, places, threshold, masking.keystream(key, 48 * (threshold - 1)))
    chosen = data.draw(st.permutations(list(zip(places, made, strict=True))))[:threshold]
    assert shamir.secret(dict(chosen)) == secret


@settings(max_examples=200, deadline=None)
@given(held=st.dictionaries(st.integers(1, 99), st.binary(max_size=40), min_size=1, max_size=5))
def test_any_bytes_as_shares(held):
    with suppress(shamir.MalformedShareError):
        assert len(shamir.secret(held)) == 32


@settings(max_examples=100, deadline=None)
@given(
    updates=arrays.arrays(np.float32, st.tuples(st.integers(2, 9), st.integers(1, 70)), elements=st.floats(-3, 3, width=32)),
    key=BYTES,
)  # fmt: skip
def test_the_sum_of_masked_updates_is_the_sum_of_quantized_ones(updates, key):
    """In a cycle of masks, each with two signs, whatever the updates: exact in the ring, and within half a step each as floats."""
    sites = len(updates)
    scale, total, plain = Scale(3.0, sites), np.zeros(updates.shape[1], np.uint32), np.zeros(updates.shape[1], np.int64)
    cycle = [Mask(key[n:] + key[:n], added=True) for n in range(sites)]
    for n, values in enumerate(updates):
        vector = np.empty(values.size, np.uint32)
        scale.encoded(values, vector)
        plain += vector.view(np.int32)
        masking.apply(vector, [cycle[n], cycle[n - 1].inverse()])
        masking.add(total, vector)
    assert np.array_equal(total.view(np.int32), plain)
    error = np.abs(scale.decoded(total) - updates.astype(np.float64).sum(axis=0))
    assert (error <= sites * 0.5000001 * 3.0 / scale.levels).all()


@settings(max_examples=200, deadline=None)
@given(sealed=st.binary(max_size=120))
def test_any_bytes_as_sealed_shares(sealed):
    bond, secret = keys.Attempt(bytes(32), bytes(32)), b"\x07" * 32
    assert bond.unsealed(sealed, "a", keys.public(b"\x08" * 32), "b", secret) is None
