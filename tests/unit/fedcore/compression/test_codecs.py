"""What codecs keep of values, and what they refuse, each at its own edges."""

from functools import partial

import numpy as np
import pytest

from fedcore.compression import float16, scaled, topk
from fedcore.compression.codec import EncodingError, MalformedEncodingError, noise
from fedcore.compression.table import CODECS
from tests.unit.fedcore.compression import coding
from tests.unit.fedcore.compression.coding import named, parts, there_and_back

CHANCE = np.random.default_rng(11)
VALUES = CHANCE.standard_normal(200_001).astype(np.float32) * 1e-3
LEVELS = {"Int8": (512, 127), "Int4": (128, 7)}


def test_all_codecs_that_can_be_named_are_there():
    assert {*CODECS} == {encoding.codec for encoding in coding.CODECS}


@pytest.mark.parametrize("codec", ["Float16", "BFloat16"])
def test_narrow_floats_are_rounded_half_to_even(codec):
    torch = pytest.importorskip("torch")
    kind = torch.float16 if codec == "Float16" else torch.bfloat16
    values = np.concatenate(
        [VALUES, np.float32([0, -0.0, 2**-24, 2**-25, 3 * 2**-25, 1 + 2**-11, 1 + 3 * 2**-11, 6e4])]
    )
    expected = torch.from_numpy(values).to(kind).to(torch.float32).numpy()
    assert there_and_back(values, named(codec)).tobytes() == expected.tobytes()


def test_float16_by_integers_has_the_bits_of_the_conversion():
    edges = [0, 0x33000000, 0x33800000, 0x38800000, 0x477FF000 - 500]
    spots = np.concatenate([np.arange(max(0, edge - 500), edge + 500) for edge in edges])
    bits = np.concatenate([CHANCE.integers(0, 0x477FF000, 500_000), spots]).astype(np.uint32)
    for sign in (0, 1 << 31):
        values = (bits | np.uint32(sign)).view(np.float32)
        assert (float16.narrowed(values) == values.astype(np.float16).view(np.uint16)).all()
    every = np.arange(1 << 16, dtype=np.uint16)
    out = np.empty(1 << 16, np.float32)
    float16.widened(every, out)
    assert out.tobytes() == every.view(np.float16).astype(np.float32).tobytes()


@pytest.mark.parametrize(
    ("codec", "most", "over"),
    [
        ("Float16", 65519.0, 65520.0),
        ("BFloat16", 3.39e38, 3.4e38),
        ("Int8", 3.36e38, 3.38e38),
        ("Int4", 2.9e38, 3.0e38),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_too_large_is_told_and_not_cut_off(codec, most, over, sign):
    values = np.zeros(3000, np.float32)
    values[2000] = sign * most
    assert np.isfinite(there_and_back(values, named(codec))).all()
    values[2000] = sign * over
    with pytest.raises(EncodingError, match="the most that this codec holds"):
        parts(values, named(codec))


@pytest.mark.parametrize("codec", LEVELS)
@pytest.mark.parametrize("size", [1e-3, 1e-44, 1e30, 127.0])
def test_the_error_of_a_rounding_is_at_most_its_scale(codec, size):
    block, levels = LEVELS[codec]
    values = (CHANCE.uniform(-1, 1, 70_000) * size).astype(np.float32)
    made = parts(values, named(codec))
    scales = np.frombuffer(made[0], "<f4")
    bound = np.repeat(scales, block)[: values.size].astype(np.float64)
    found = coding.decoded(values, named(codec), made).astype(np.float64)
    assert (np.abs(found - values) <= bound * (1 + 1e-5)).all()
    peaks = np.abs(np.pad(values, (0, -values.size % block))).reshape(-1, block).max(axis=1)
    assert (scales.astype(np.float64) * levels >= peaks).all(), "nothing is cut off"
    assert (scales.astype(np.float64) <= peaks / levels * (1 + 1e-6) + 2e-45).all()


@pytest.mark.parametrize("value", [0.3, -0.3, 0.499999, 1e-4, -0.99999])
@pytest.mark.parametrize("codec", LEVELS)
def test_the_mean_of_what_is_decoded_is_the_value(codec, value):
    """Over all draws at once: an item for each 16-bit number, all of one value."""
    block, levels = LEVELS[codec]
    every = np.arange(1 << 16, dtype=np.uint16)
    values = np.full(1 << 16, value, np.float32)
    values[::block] = 1.0  # the peak
    passes = partial(_passes, values)
    scales = scaled.scales(passes, _kind(values), block, levels)
    draws = iter(every.reshape(2, -1))
    codes = np.concatenate([c.copy() for c in scaled.integers(passes, scales, block, lambda _: next(draws))])
    others = np.arange(1 << 16) % block != 0
    mean = float((codes[others] * scales[0].astype(np.float64)).mean())
    missing = float(np.count_nonzero(~others)) / (1 << 16)  # draws that met a peak
    assert abs(mean - np.float32(value)) <= scales[0] * (2**-17 + 2**-20 + missing)


def test_the_mean_of_many_seeds_is_the_value():
    values = VALUES[:2048]
    mean = np.mean([there_and_back(values, named("Int8"), seed).astype(np.float64) for seed in range(400)], axis=0)
    scale = np.abs(values).max() / 127
    assert np.abs(mean - values).max() < 5 * 0.5 * scale / np.sqrt(400)


@pytest.mark.parametrize("codec", LEVELS)
def test_multiples_of_the_scale_stay_what_they_are(codec):
    block, levels = LEVELS[codec]
    whole = CHANCE.integers(-levels, levels + 1, 10 * block)
    whole[::block] = levels
    for scale in (1.0, 2.0**-20, 2.0**90):
        values = (whole * scale).astype(np.float32)
        assert there_and_back(values, named(codec)).tobytes() == (values + 0.0).tobytes()


@pytest.mark.parametrize("encoding", coding.CODECS, ids=lambda encoding: encoding.codec)
def test_same_seed_same_bytes(encoding):
    once, again, other = (parts(VALUES, encoding, seed) for seed in (3, 3, 4))
    assert once == again
    assert (once != other) == (encoding.codec in LEVELS), "what is drawn decides only where something is drawn"


def test_a_row_of_draws_is_one_however_many_are_asked_for_at_a_time():
    whole, pieces = noise(5)(40_000), noise(5)
    assert np.concatenate([pieces(12_000), pieces(4), pieces(27_996)]).tolist() == whole.tolist()


def test_the_row_of_draws_never_changes():
    """What was drawn by another version of numpy: an update that is trained again has the same bytes."""
    assert noise(1)(6).tolist() == FIRST


@pytest.mark.parametrize("encoding", coding.CODECS, ids=lambda encoding: encoding.codec)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_constant_tensors(encoding, value):
    values = np.full(5000, value, np.float32)
    found = there_and_back(values, encoding)
    if encoding.codec == "TopK":
        assert found.tolist() == [value] * 52 + [0.0] * 4948
    else:
        assert np.allclose(found, values, rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("form", ["normal", "ties", "rising", "falling", "spikes", "zeros"])
def test_topk_takes_the_largest_and_of_equal_ones_the_earlier(form, fraction):
    values = {
        "normal": VALUES,
        "ties": CHANCE.integers(-3, 4, 200_001).astype(np.float32),
        "rising": np.arange(200_001, dtype=np.float32),
        "falling": -np.arange(200_001, dtype=np.float32)[::-1],
        "spikes": np.where(np.arange(200_001) % 1000 == 7, 1, 0).astype(np.float32),
        "zeros": np.zeros(200_001, np.float32),
    }[form]
    count = topk.entries(values.size, fraction)
    chosen = np.sort(np.lexsort((np.arange(values.size), -np.abs(values)))[:count])
    expected = np.zeros_like(values)
    expected[chosen] = values[chosen]
    made = parts(values, named("TopK", fraction))
    pages = np.repeat(np.arange(-(-values.size // topk.PAGE)), np.frombuffer(made[0], "<u4"))
    assert (pages * topk.PAGE + np.frombuffer(made[1], "<u2")).tolist() == chosen.tolist()
    assert there_and_back(values, named("TopK", fraction)).tobytes() == (expected + 0.0).tobytes()


@pytest.mark.parametrize(
    ("items", "fraction", "count"),
    [(1024, 0.01, 12), (700, 0.01, 8), (40_000, 0.01, 400), (3, 0.5, 3), (1024, 0.001, 4), (0, 0.1, 0), (8, 0.5, 4)],
)
def test_how_many_topk_sends(items, fraction, count):
    assert topk.entries(items, fraction) == count


def changed(made, part, at, value, dtype):
    found = np.frombuffer(made[part], dtype).copy()
    found[at] = value
    return [found.tobytes() if index == part else data for index, data in enumerate(made)]


SCALES = [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (3e38, "NaN or infinite"), (-1e-3, "negative")]


@pytest.mark.parametrize("codec", LEVELS)
@pytest.mark.parametrize(("scale", "told"), SCALES)
def test_hostile_scales(codec, scale, told):
    values = VALUES[:5000]
    made = changed(parts(values, named(codec)), 0, 3, scale, "<f4")
    with pytest.raises(MalformedEncodingError, match=told):
        coding.decoded(values, named(codec), made)


@pytest.mark.parametrize("codec", LEVELS)
def test_any_code_has_a_finite_value(codec):
    values = VALUES[:5000]
    made = parts(values, named(codec))
    for code in (0x00, 0x80, 0x88, 0xFF):
        assert np.isfinite(coding.decoded(values, named(codec), [made[0], bytes([code]) * len(made[1])])).all()


@pytest.mark.parametrize(
    ("part", "at", "value", "told"),
    [
        (0, 0, 1 << 17, "has 131072 entries"),
        (0, 0, 0, "its pages have"),
        (0, 3, 9999, "its pages have"),
        (1, 1, 0, "not in order, or one is there twice"),
        (1, 5, 65535, "not in order, or one is there twice"),
        (1, -1, 60000, "is none of its"),
    ],
)
def test_hostile_indices(part, at, value, told):
    values = VALUES[:200_001]
    made = changed(parts(values, named("TopK")), part, at, value, ("<u4", "<u2")[part])
    with pytest.raises(MalformedEncodingError, match=told):
        coding.decoded(values, named("TopK"), made)


def test_an_index_that_is_there_twice():
    values = VALUES[:100_000]
    made = parts(values, named("TopK"))
    twice = np.frombuffer(made[1], "<u2")[0]
    with pytest.raises(MalformedEncodingError, match="one is there twice"):
        coding.decoded(values, named("TopK"), changed(made, 1, 1, twice, "<u2"))


def _kind(values):
    from fedcore.compression.fileform import kind_of

    return kind_of(coding.tensor(values))


def _passes(values):
    from fedcore.compression.codec import PASS_ITEMS

    return (values[at : at + PASS_ITEMS] for at in range(0, values.size, PASS_ITEMS))


FIRST = [584, 26870, 62630, 65248, 34943, 37859]
