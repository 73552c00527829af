"""Into which fragments a model is divided, and which of them has its turn. The tables decide bits of models: they never change."""

from itertools import pairwise

import pytest

from fedcore.tensors import tensorfile
from fedcore.tensors.fragments import WHOLE, TooManyFragmentsError, Turn, fragments
from fedcore.tensors.tensorfile import Tensor


def model(**sizes):
    """Float tensors of so many items."""
    return tuple(Tensor(name.replace("__", "."), "F32", (items,), 0, 4 * items) for name, items in sizes.items())


BLOCKS = {f"h.{number}.{part}": items for number in range(12) for part, items in (("weight", 100), ("bias", 10))}


def test_layers_of_one_size_are_dealt_out_in_strides():
    """The tenth layer comes after the ninth, and a bias with its weight."""
    found = fragments(model(**BLOCKS), 3)
    assert [sorted({int(name.split(".")[1]) for name in each}) for each in found] == [
        [0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11],
    ]  # fmt: skip
    assert all(f"h.{number}.bias" in each for each in found for number in (n.split(".")[1] for n in each))


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_no_fragment_is_more_than_a_layer_larger_than_another(count):
    sizes = {"wte.weight": 5000, **BLOCKS, "norm.weight": 7, "head.weight": 900, "scale": 1}
    tensors = model(**sizes)
    found = fragments(tensors, count)
    assert sorted(name for each in found for name in each) == sorted(sizes)
    totals = sorted(sum(sizes[name] for name in each) for each in found)
    assert all(more - less <= 5000 for less, more in pairwise(totals))
    assert max(totals) <= sum(sizes.values()) / count + 5000


def test_neither_the_order_of_tensors_nor_where_they_lie_decides():
    tensors = model(b__w=3, a__w=4, a__b=1, c__w=2)
    lain = tensorfile.canonical_header(tensors)[1].tensors
    assert fragments(tensors, 2) == fragments(reversed(lain), 2) == ({"a.w", "a.b"}, {"b.w", "c.w"})


def test_fragments_take_turns_by_the_number_of_the_round():
    table = tensorfile.canonical_header(model(a__w=4, b__w=3, c__w=2))[1]
    names = [set(Turn(round_, 2).of(table).by_name()) for round_ in (1, 2, 3)]
    assert names == [{"a.w"}, {"b.w", "c.w"}, {"a.w"}]
    assert WHOLE.of(table) is Turn(7).of(table) is table
    assert Turn(2, 2).of(table).tensors[0].begin == table.by_name()["b.w"].begin, "as they lie in the file"


def test_a_model_of_fewer_layers_is_refused():
    with pytest.raises(
        TooManyFragmentsError, match="fragments is 3, and the model has 2 layers that travel: set at most"
    ):
        fragments(model(a__w=4, a__b=3, b__w=2), 3)


def test_a_name_of_very_many_digits_is_no_error():
    hostile = {f"h.{'9' * 6000}.w": 1, "h.2.w": 1}
    assert len(fragments(model(**hostile), 2)) == 2


def test_a_tensor_without_values_leaves_no_fragment_empty():
    plain = fragments(model(a__w=4, c__w=2), 2)
    assert fragments(model(a__w=4, b__w=0, c__w=2), 2) == (plain[0] | {"b.w"}, plain[1])
    assert fragments(model(b__w=0, a__w=4, d__w=0, c__w=2, e__w=0), 2)[1] == {"c.w"}
    with pytest.raises(TooManyFragmentsError, match="the model has 1 layers"):
        fragments(model(a__w=4, b__w=0), 2)
