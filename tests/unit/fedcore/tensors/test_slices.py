"""Where a leading slice lies in the whole tensor, against numpy's own slicing, for every shape, slice and part."""

import itertools

import numpy as np
import pytest

from fedcore.tensors import slices

CASES = [
    ((7,), (3,)),
    ((4, 5), (2, 5)),
    ((4, 5), (4, 1)),
    ((4, 5), (3, 2)),
    ((3, 4, 2), (3, 2, 2)),
    ((3, 4, 5), (2, 4, 3)),
    ((2, 3, 4, 5), (1, 3, 2, 5)),
    ((6, 2, 3), (6, 2, 3)),
    ((1, 9), (1, 4)),
]


def marked(whole, part):
    found = np.zeros(whole, bool)
    found[tuple(map(slice, part))] = True
    return found.reshape(-1)


@pytest.mark.parametrize(("whole", "part"), CASES)
def test_every_part_of_the_whole(whole, part):
    expected = marked(whole, part)
    for start, stop in itertools.combinations(range(expected.size + 1), 2):
        assert slices.within(whole, part, start, stop).tolist() == expected[start:stop].tolist()
    counts = np.concatenate([[0], np.cumsum(expected)])
    assert [slices.before(whole, part, at) for at in range(expected.size + 1)] == counts.tolist()


@pytest.mark.parametrize(("whole", "part"), CASES)
def test_the_items_of_a_slice_are_in_the_order_of_the_whole(whole, part):
    values = np.arange(np.prod(whole)).reshape(whole)
    ours = values[tuple(map(slice, part))].reshape(-1)
    spread = np.full(values.size, -1)
    spread[slices.within(whole, part, 0, values.size)] = ours
    assert (spread[marked(whole, part)] == values.reshape(-1)[marked(whole, part)]).all()
