"""Which tensors of a model are encoded on the way down: its shapes say it, whoever has made it."""

import numpy as np
import pytest

from fedapi.wire.compression import Encoding
from fedcore.compression import wholemodels
from tests.unit.fedcore.compression.coding import tensor

INT8 = Encoding(codec="Int8")


@pytest.mark.parametrize(
    ("shape", "dtype", "encoded"),
    [
        ((64, 64), "F32", True),
        ((8, 3, 7, 7), "F32", True),
        ((1, 1024), "F16", True),
        ((2048,), "F32", False),  # a bias, or the variance of as many channels
        ((65_536,), "F32", False),
        ((65_537,), "F32", True),
        ((31, 33), "F32", False),  # 1,023 values
        ((64, 64), "I64", False),
        ((0, 3), "F32", False),
        ((), "F32", False),
    ],
)
def test_what_is_encoded(shape, dtype, encoded):
    its = tensor(np.empty(shape), dtype)
    assert wholemodels.chosen([its], INT8) == ({"w"} if encoded else set())
    assert wholemodels.chosen([its], INT8, frozenset({"w"})) == set()


def test_a_narrow_tensor_is_not_made_narrow():
    assert wholemodels.chosen([tensor(np.empty((64, 64)), "BF16")], Encoding(codec="Float16")) == set()


def test_draws_are_of_the_seed_the_tensor_and_its_scales():
    values = np.random.default_rng(1).normal(size=4096).astype(np.float32)

    def made(seed=1, name="w", values=values):
        parts = wholemodels.parts(tensor(np.empty((64, 64)), "F32", name), lambda: iter([values]), INT8, seed)
        return b"".join(part.tobytes() for part in parts)

    changed = values.copy()
    changed[5] = 100.0
    assert made() == made(), "unchanged in the next model"
    assert len({made(), made(2), made(name="v"), made(values=changed)}) == 4
    block = 4096 - 512  # whose scale is what it was, and whose draws are others
    assert made(values=changed)[-block:] != made()[-block:]
