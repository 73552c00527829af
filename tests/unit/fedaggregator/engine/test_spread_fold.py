"""A fold of sub-models' updates is numpy's mean over those that have a number, plain, encoded and encrypted; and what is refused, by name."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine import content, folding
from fedaggregator.engine.content import Asked
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.errors import DamagedError, RequestRefusedError
from fedapi.wire.compression import Compression
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import Payload
from fedcore.rounds.effects import Fold, Term
from fedcore.tensors import submodels
from fedcore.tensors.tensorfile import METADATA
from fedstore.memory import MemoryStore
from tests.unit.fedaggregator.engine.test_encrypted_fold import JOB_KEY, CountingStore, encrypted
from tests.unit.fedaggregator.engine.test_verified_fold import LAYOUT, in_order, put
from tests.unit.fedcore.compression.coding import CODECS, file_of, sent

SHAPES = {"bias": (33,), "conv": (9, 4, 3, 3), "long": (700, 900), "none": (0, 3), "wide": (40, 6)}
NARROW = {0.5: {"bias": (17,), "conv": (5, 2, 3, 3), "long": (350, 450), "wide": (20, 3)}, 0.25: {"long": (700, 225)}}
KINDS = {"wide": np.float64}
COUNT = np.arange(5)


def shapes(width):
    return SHAPES | (NARROW[width] if width else {})


def update(seed, width=None, scale=1.0):
    rng = np.random.default_rng(seed)
    floats = {
        name: (scale * rng.normal(size=shape)).astype(KINDS.get(name, np.float32))
        for name, shape in shapes(width).items()
    }
    return floats | {"steps": COUNT * seed}


def base(store):
    """The initial model, which says what its sub-models are."""
    said = {METADATA: json.dumps({"widths": submodels.said(NARROW)})}
    return put(store, "models/base", save(update(0), said))


SITES = [("a", 1, None, 10), ("b", 2, 0.5, 30), ("c", 3, 0.5, 1), ("d", 4, 0.25, 20)]


def order(ref, *terms, **strategy):
    return Fold(3, 1, ref, StrategySettings(sub_models="Overlap", **strategy), terms, initial=ref)


def plain_terms(store, sites=SITES, write=save):
    return [
        Term(name, {"update": Payload(object=put(store, f"updates/{name}", write(update(seed, width))))}, samples, None, width=width)
        for name, seed, width, samples in sites
    ]  # fmt: skip


def fold(store, wanted):
    made = folding.fold(store, Payloads(store, JOB_KEY), LAYOUT, wanted, lambda: False)
    assert folding.fold(store, Payloads(store, JOB_KEY), LAYOUT, wanted, lambda: False) == made
    return made.model


def mean(updates, of=None):
    """Base and the mean update over the sites that have a number, in float64."""
    found = {}
    for name, whole in update(0).items():
        if name == "steps":
            continue
        total, weight = np.zeros(whole.shape), np.zeros(whole.shape)
        for values, samples in updates:
            where = tuple(map(slice, values[name].shape))
            total[where] += samples * values[name].astype(np.float64)
            weight[where] += samples
        found[name] = whole + np.divide(total, weight, out=np.zeros(whole.shape), where=weight > 0)
    return found


@pytest.mark.parametrize("sites", [SITES, SITES[1:3], SITES[3:], SITES[:2]], ids=["all", "half", "quarter", "two"])
def test_the_mean_is_that_over_the_sites_that_have_a_number(sites):
    store = MemoryStore()
    ref = base(store)
    model = load(store.get(fold(store, order(ref, *plain_terms(store, sites))).key))
    expected = mean([(update(seed, width), samples) for _, seed, width, samples in sites])
    for name, exact in expected.items():
        assert np.allclose(model[name], exact, rtol=1e-6, atol=1e-6), name
        assert model[name].dtype == update(0)[name].dtype
    reached = max((shapes(width)["long"] for _, _, width, _ in sites), key=np.prod)
    if len({width for _, _, width, _ in sites}) == 1 and sites[0][2]:
        beyond = np.ones(SHAPES["long"], bool)
        beyond[tuple(map(slice, reached))] = False
        assert (model["long"] == update(0)["long"])[beyond].all()


def test_the_bits_depend_neither_on_the_order_of_tensors_in_a_file_nor_on_where_it_is_read():
    store, far = MemoryStore(), MemoryStore()
    made = fold(store, order(base(store), *plain_terms(store)))

    def backwards(values):
        return in_order(values, sorted(values)[::-1])

    assert fold(far, order(base(far), *plain_terms(far, write=backwards))).sha256 == made.sha256


@pytest.mark.parametrize("encoding", CODECS, ids=lambda encoding: encoding.codec)
@pytest.mark.parametrize("kem", [None, "MLKEM768X25519"])
def test_encoded_and_encrypted_updates_make_the_model_of_what_they_decode_to(encoding, kem):
    store, beside = MemoryStore(), MemoryStore()
    ref, there = base(store), base(beside)
    among = frozenset(SHAPES)
    decoded, terms = [], []
    for name, seed, width, samples in SITES:
        values = update(seed, width)
        its = put(beside, f"updates/{name}", save(sent(values, encoding, among)))
        decoded.append(Term(name, {"update": Payload(object=its)}, samples, None, width=width))
        data, key = file_of(values, encoding, among), f"updates/{name}"
        bare = Term(name, {}, samples, None, width=width)
        if kem:
            payload = encrypted(store, key, data, order(ref).place(LAYOUT.uid, bare, "update"))
        else:
            payload = Payload(object=put(store, key, data))
        payload = payload.model_copy(update={"codec": encoding.codec})
        terms.append(Term(name, {"update": payload}, samples, None, width=width))
    assert fold(store, order(ref, *terms)).sha256 == fold(beside, order(there, *decoded)).sha256


def test_every_byte_of_an_update_is_read_once():
    store = CountingStore()
    terms = plain_terms(store)
    folding.fold(store, Payloads(store, JOB_KEY), LAYOUT, order(base(store), *terms), lambda: False)
    for term in terms:
        ref = term.payloads["update"].object
        assert store.read[ref.key] == ref.size


def test_an_initial_model_is_read_as_a_whole_once_by_a_process():
    store = CountingStore()
    initial = base(store)
    model = put(store, "models/one", save(update(9)))
    payloads = Payloads(store, JOB_KEY)
    for _ in range(2):
        wanted = Fold(3, 1, model, StrategySettings(), tuple(plain_terms(store, SITES[1:2])), initial=initial)
        folding.fold(store, payloads, LAYOUT, wanted, lambda: False)
        seen = store.read[initial.key]
        assert initial.size <= seen < initial.size + 20_000


@pytest.mark.parametrize("position", [3, 60, 2000, -9])
def test_any_changed_byte_is_found(position):
    store = MemoryStore()
    ref, terms = base(store), plain_terms(store)
    data = bytearray(store.get("updates/b"))
    data[position] ^= 0x41
    store._objects["updates/b"] = bytes(data)
    with pytest.raises(DamagedError) as error:
        fold(store, order(ref, *terms))
    assert set(error.value.found) == {"updates/b"}


def test_a_changed_initial_model_is_the_hub_s_own_trouble():
    store = MemoryStore()
    initial, model = base(store), put(store, "models/one", save(update(9)))
    terms = plain_terms(store)
    store._objects[initial.key] = store.get(initial.key).replace(b"[350, 450]", b"[350, 451]")
    with pytest.raises(DamagedError) as error:
        fold(store, Fold(3, 1, model, StrategySettings(), tuple(terms), initial=initial))
    assert set(error.value.found) == {initial.key}


def test_a_width_that_the_initial_model_does_not_know():
    store = MemoryStore()
    ref, (term,) = base(store), plain_terms(store, SITES[1:2])
    strange = Term(term.client, term.payloads, 1, None, width=0.75)
    with pytest.raises(DamagedError, match=r"modelWidth 0\.75 is none of those .* \(0\.25, 0\.5\)"):
        fold(store, order(ref, strange))


def judged(data, width, compression=None, codec="None"):
    """What the hub says of an update of a site of that width; empty when it takes it."""
    store = MemoryStore()
    ref = base(store)
    table = content.read_table(store, ref.key)
    wanted = Asked(submodels.sliced(table, submodels.widths(table)[width]) if width else table, compression, width)
    payload = Payload(object=put(store, "updates/a", data), codec=codec)
    made = Sent(payload, order(ref).place(LAYOUT.uid, Term("a", {}, 1, None), "update"), width)
    try:
        content.check_update(store, Payloads(store, JOB_KEY), made, wanted)
    except RequestRefusedError as error:
        return str(error)
    return ""


def test_an_update_has_the_shapes_of_its_site_s_width():
    assert (
        judged(save(update(1, 0.5)), 0.5) == judged(save(update(1, 0.25)), 0.25) == judged(save(update(1)), None) == ""
    )
    told = "does not fit its base at the site's modelWidth 0.5: tensor 'wide' is F64[40, 6], the base has F64[20, 3]"
    assert told in judged(save(update(1)), 0.5)
    assert "tensor 'long' is F32[350, 450], the base has F32[700, 900]" in judged(
        save({**update(1), "long": update(1, 0.5)["long"]}), None
    )
    assert "tensor 'wide' is F64[40, 6]" in judged(save(update(1, 0.25)), 0.5)
    encoding = CODECS[2]
    asked = Compression(**encoding.model_dump())
    among = frozenset(SHAPES)
    assert judged(file_of(update(1, 0.5), encoding, among), 0.5, asked, encoding.codec) == ""
    assert "not its base at the site's modelWidth 0.5 encoded" in judged(
        file_of(update(1), encoding, among), 0.5, asked, encoding.codec
    )
    spoilt = update(1, 0.5)
    spoilt["wide"][3, 1] = np.nan
    assert "tensor 'wide' has NaN" in judged(save(spoilt), 0.5)


def test_an_initial_model_whose_sub_models_are_none_is_refused():
    store = MemoryStore()
    said = {METADATA: json.dumps({"widths": {"0.5": {"bias": [34]}}})}
    with pytest.raises(
        RequestRefusedError, match=r"at width 0\.5, tensor 'bias' is \[34\], which is no leading slice of \[33\]"
    ):
        content.check_model(store, put(store, "models/bad", save(update(0), said)))
