"""Block arithmetic of a fold against exact rational arithmetic and other oracles."""

import random
from fractions import Fraction

import numpy as np
import pytest

from fedcore.strategies import folding
from fedcore.strategies.folding import Rules
from fedcore.strategies.strategy import Cohort, Update
from fedcore.strategies.table import STRATEGIES
from fedcore.tensors import arithmetic

FEDAVG = STRATEGIES["FedAvg"]


def bf16(values) -> np.ndarray:
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype("<u2")


def fold(dtype, base, terms):
    accumulator = arithmetic.Accumulator.of(dtype, base.size + 3)
    return folding.folded(Rules(FEDAVG, {}), dtype, base, terms, accumulator)[0]


def weights(samples):
    return FEDAVG.weights(Cohort(tuple(Update(n, None) for n in samples)), {})


@pytest.mark.parametrize(
    ("dtype", "base", "terms", "expected"),
    [
        ("F32", [1, -2], [(0.5, [2, 4]), (0.5, [4, 0])], [4, 0]),
        ("F64", [1, -2], [(0.25, [2, 4]), (0.75, [4, 0])], [4.5, -1]),
        ("F16", [1, 2], [(0.5, [1, 1]), (0.5, [0, 1])], [1.5, 3]),
        ("I64", [10, 10], [(0.5, [1, -1]), (0.5, [2, -4])], [12, 8]),  # 1.5 and -2.5 round half to even
        ("I32", [2**30, 0], [(1.0, [2**30 - 1, -5])], [2**31 - 1, -5]),
        ("U8", [250, 3], [(1.0, [3, 255])], [253, 2]),  # 255 is the delta -1
        ("BOOL", [1, 0], [(1.0, [1, 1])], [1, 0]),
    ],
)
def test_table(dtype, base, terms, expected):
    kind = arithmetic._STORED[dtype]
    new = fold(dtype, np.array(base, kind), [(w, np.array(u, kind)) for w, u in terms])
    assert new.dtype == np.dtype(kind)
    assert new.tolist() == expected


INTEGERS = ["U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_averaged_exactly(dtype):
    """Any values at the sites, ends of the type too: the rational mean, rounded once, half to even."""
    kind = np.dtype(arithmetic._STORED[dtype])
    limits, chance = np.iinfo(kind), random.Random(dtype)

    def values() -> list[int]:
        ends = [limits.min, limits.max, 0, 1, 2, 100, 50, 28]
        return [
            *ends,
            *(chance.randint(limits.min, limits.max) for _ in range(8)),
            *(chance.choice(ends) for _ in range(8)),
        ]

    for samples in ([1], [1, 1], [1, 1, 1, 1, 1, 1], [1, 2, 3], [7, 0, 10**6], [2**40, 3, 2**40 - 1]):
        factors = weights(samples)
        base, local = values(), [values() for _ in samples]
        updates = [np.array(there, kind) - np.array(base, kind) for there in local]
        new = fold(dtype, np.array(base, kind), list(zip(factors, updates, strict=True)))
        exact = [sum(n * there[i] for n, there in zip(samples, local, strict=True)) for i in range(len(base))]
        expected = [int(b + round(Fraction(e, sum(samples)) - b)) for b, e in zip(base, exact, strict=True)]
        assert (new.dtype, new.tolist()) == (kind, expected), samples


@pytest.mark.parametrize("dtype", ["F32", "F64", "F16"])
def test_what_the_base_has_as_infinite_stays(dtype):
    kind = arithmetic._STORED[dtype]
    base = np.array([-np.inf, np.nan, np.inf, 1.0], kind)
    new = fold(dtype, base, [(Fraction(1, 2), np.array([0, 0, 0, 2.0], kind))] * 2)
    assert new[:3].tobytes() == base[:3].tobytes()
    assert new[3] == 3


def test_bfloat16_rounds_half_to_even():
    new = fold("BF16", bf16([1.0, -3.0]), [(0.5, bf16([1.0, 2.0])), (0.5, bf16([0.015625, 2.0]))])
    assert (new.astype(np.uint32) << 16).view(np.float32).tolist() == [1.5078125, -1.0]


def test_float32_is_within_the_rounding_of_exact_arithmetic():
    rng = np.random.default_rng(3)
    base = rng.normal(size=50).astype(np.float32)
    updates = rng.normal(size=(7, 50)).astype(np.float32)
    factors = weights([3, 1, 4, 1, 5, 9, 2])
    new = fold("F32", base, list(zip(factors, updates, strict=True)))
    for i in range(50):
        exact = Fraction(float(base[i])) + sum(
            Fraction(w) * Fraction(float(u[i])) for w, u in zip(factors, updates, strict=True)
        )
        assert abs(float(exact) - float(new[i])) < 2e-6


def test_bits_do_not_depend_on_block_size():
    rng = np.random.default_rng(1)
    base, updates = rng.normal(size=1001).astype(np.float32), rng.normal(size=(5, 1001)).astype(np.float32)
    whole = fold("F32", base, [(0.2, u) for u in updates]).copy()
    for block in (1, 7, 64, 1000):
        parts = [
            fold("F32", base[s : s + block], [(0.2, u[s : s + block]) for u in updates]).copy()
            for s in range(0, 1001, block)
        ]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("dtype", "values", "finite"),
    [
        ("F32", [1.0, -0.0], True), ("F32", [1.0, np.nan], False), ("F64", [-np.inf], False), ("F16", [np.inf], False),
        ("I64", [2**62], True),
    ],
)  # fmt: skip
def test_finite(dtype, values, finite):
    assert arithmetic.finite(dtype, np.array(values, arithmetic._STORED[dtype])) is finite


def test_finite_bfloat16():
    assert arithmetic.finite("BF16", bf16([1.0, 3e38]))
    assert not arithmetic.finite("BF16", bf16([1.0, np.nan]))
    assert not arithmetic.finite("BF16", bf16([-np.inf]))


@pytest.mark.parametrize(
    ("samples", "expected"), [([1, 3], (0.25, 0.75)), ([0, 5], (0.0, 1.0)), ([0, 0], (0.0, 0.0)), ([], ())]
)
def test_fedavg_weights(samples, expected):
    assert weights(samples) == expected
