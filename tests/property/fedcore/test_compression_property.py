"""Any tensor there and back, whole and in any part: within what the codec promises, and the same bits in whichever part."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.unit.fedcore.compression.coding import CODECS, decoded, parts

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=40)
VALUES = st.floats(width=32, min_value=-(2.0**15), max_value=2.0**15, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.sampled_from(CODECS),
    values=arrays.arrays(np.float32, SHAPES, elements=VALUES, fill=VALUES),
    repeats=st.sampled_from([1, 1, 3, 70]),
    cuts=st.lists(st.floats(0, 1), max_size=4),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_tensor_there_and_back(encoding, values, repeats, cuts, seed):
    values = np.concatenate([values.reshape(-1)] * repeats)
    made = parts(values, encoding, seed)
    whole = decoded(values, encoding, made)
    edges = sorted({0, values.size, *(int(cut * values.size) for cut in cuts)})
    pieces = [decoded(values, encoding, made, *edges[n : n + 2]) for n in range(len(edges) - 1)]
    assert b"".join(piece.tobytes() for piece in pieces) == whole.tobytes()
    check(encoding, values, whole)


def check(encoding, values, found):
    error = np.abs(found.astype(np.float64) - values)
    if encoding.codec == "Float16":
        assert (error <= np.maximum(np.abs(values) * 2.0**-11, 2.0**-25)).all()
    elif encoding.codec == "BFloat16":
        assert (error <= np.maximum(np.abs(values) * 2.0**-8, 2.0**-134)).all()
    elif encoding.codec == "TopK":
        sent = found != 0
        assert (found[sent] == values[sent]).all()
        left = np.abs(values[~sent])
        assert not sent.any() or not left.size or left.max() <= np.abs(values[sent]).min()
    else:
        block, levels = {"Int8": (512, 127), "Int4": (128, 7)}[encoding.codec]
        padded = np.pad(np.abs(values), (0, -values.size % block)).reshape(-1, block)
        scale = np.repeat(padded.max(axis=1), block)[: values.size] / levels if values.size else values
        assert (error <= scale * (1 + 1e-5) + 3e-45).all()
