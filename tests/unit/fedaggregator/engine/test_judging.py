"""The judgement of updates in a store: of every type of floats, and damaged ones are named, not judged."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from fedaggregator.engine.judging import judged
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.anomalies import AnomalySettings
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UPDATE, Payload
from fedcore.rounds.effects import Fold, Judging, Term
from fedstore.memory import MemoryStore

LAYOUT = Layout("ns", "job", "uid")
EXCLUDE = AnomalySettings(action="Exclude")


def tensors(seed, kind, times=1.0):
    rng = np.random.default_rng(seed)
    counted = {"steps": np.full(1, 10**6 if times > 1 else 1, np.int64)}
    return {"w": (rng.normal(size=(300, 11)) * times).astype(kind), "b": np.ones(3, "f4"), **counted}


def put(store, name, values):
    data = save(values)
    key = f"objects/{name}"
    store.put_once(key, data)
    return ObjectRef(key=key, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def order(store, kind, *times, settings=EXCLUDE):
    base = put(store, "base", tensors(0, kind))
    terms = []
    for at, by in enumerate(times):
        payload = Payload(object=put(store, f"update-{at}", tensors(at + 1, kind, by)))
        terms.append(Term(f"site-{at}", {UPDATE: payload}, 10, None))
    return Fold(1, 1, base, StrategySettings(), tuple(terms), judging=Judging(settings, {}, 2))


def judge(store, fold):
    return judged(store, Payloads(store, bytes(32)), LAYOUT, fold, lambda: False)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_of_every_type(kind):
    store = MemoryStore()
    found = judge(store, order(store, kind, 1, 1, 1, 20))
    expected = np.linalg.norm(np.append(tensors(2, kind)["w"].astype("f8"), np.ones(3)))
    assert found.norms["site-1"] == pytest.approx(expected, rel=1e-11)
    assert found.excluded == {"site-3"}
    assert [fact.kind for fact in found.anomalies[0].facts] == ["NormAboveOthers"]


def test_directions_where_they_are_asked_for():
    store = MemoryStore()
    fold = order(store, "f4", 1, 1, 1, settings=AnomalySettings(min_cosine=0.99))
    found = judge(store, fold)
    assert [each.facts[0].kind for each in found.anomalies] == ["AgainstOthers"]
    rows = np.stack([np.append(np.ones(3), tensors(seed, "f4")["w"].astype("f8")) for seed in (1, 2, 3)])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    out = {each.client for each in found.anomalies}
    for at in range(3):
        others = sum(unit[other] for other in range(3) if other != at and f"site-{other}" not in out)
        expected = unit[at] @ others / np.linalg.norm(others)
        assert found.cosines[f"site-{at}"] == pytest.approx(expected, abs=1e-4)
    unasked = MemoryStore()
    assert judge(unasked, order(unasked, "f8", 1, 1, 1)).cosines == {}, "nobody asks for them"


def test_who_has_no_samples_is_not_looked_at():
    store = MemoryStore()
    fold = order(store, "f4", 1, 1, 1, 20)
    empty = replace(fold, terms=(*fold.terms[:3], replace(fold.terms[3], samples=0)))
    assert judge(store, empty).norms.keys() == {"site-0", "site-1", "site-2"}


def test_nothing_is_read_where_nobody_asks():
    store = MemoryStore()
    assert judge(store, replace(order(store, "f4", 1, 1, 20), judging=None)).norms == {}


def test_a_damaged_update_is_named():
    store = MemoryStore()
    fold = order(store, "f4", 1, 1, 1)
    store.delete("objects/update-1")
    store.put_once("objects/update-1", save(tensors(9, "f4")))
    with pytest.raises(DamagedError) as damaged:
        judge(store, fold)
    assert damaged.value.found.keys() == {"objects/update-1"}


def test_it_ends_where_the_process_does():
    store = MemoryStore()
    with pytest.raises(WorkCancelledError):
        judged(store, Payloads(store, bytes(32)), LAYOUT, order(store, "f4", 1, 1, 1), lambda: True)
