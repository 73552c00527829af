"""Lengths are those of numpy's float64, whatever the blocks."""

import numpy as np
import pytest

from fedcore.anomalies.lengths import Lengths


def updates(kind):
    rng = np.random.default_rng(7)
    return [{"w": rng.normal(size=5000).astype(kind), "b": rng.normal(size=3).astype(kind)} for _ in range(4)]


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_lengths_are_euclidean(kind):
    found = Lengths.of(["w", "b"], 4)
    for at, update in enumerate(updates(kind)):
        found.add(at, [("w", 4000)], update["w"][:4000])
        found.add(at, [("w", 1000), ("b", 3)], np.concatenate([update["w"][4000:], update["b"]]))
    whole = [np.linalg.norm(np.concatenate([each["w"], each["b"]]).astype("f8")) for each in updates(kind)]
    np.testing.assert_allclose(found.norms, whole, rtol=1e-11)
    np.testing.assert_allclose(found.of_layer(1), [np.linalg.norm(each["b"].astype("f8")) for each in updates(kind)])


def test_a_length_that_is_beyond_numbers_is_one():
    found = Lengths.of(["w"], 1)
    found.add(0, [("w", 2)], np.array([1e200, 1e200]))
    assert found.norms == (1e300,)
