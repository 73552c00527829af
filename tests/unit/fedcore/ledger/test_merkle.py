"""Trees and proofs are those of RFC 6962, for every size up to 40, and proofs of anything else are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.ledger import merkle
from tests.unit.fedcore.ledger import oracle

SIZES = range(1, 41)
ENTRIES = [b"entry %d" % number for number in range(max(SIZES))]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


def node_of(size):
    made = merkle.levels(LEAVES[:size])
    return lambda level, index: made[level][index]


def test_known_answers():
    """Of the test vectors that certificate transparency logs share."""
    leaves = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    assert merkle.EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root_of(hashes[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.root_of(hashes[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert merkle.root_of(hashes).hex() == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"


@pytest.mark.parametrize("size", SIZES)
def test_roots_and_proofs_are_those_of_the_definition(size):
    node, entries = node_of(size), ENTRIES[:size]
    root = oracle.mth(entries)
    assert merkle.root_of(LEAVES[:size]) == merkle.root(node, size) == root
    for index in range(size):
        found = merkle.inclusion(node, index, size)
        assert found == oracle.path(index, entries)
        assert merkle.is_included(LEAVES[index], index, size, found, root)
    for old in range(size + 1):
        found = merkle.consistency(node, old, size)
        assert found == oracle.proof(old, entries)
        assert merkle.is_consistent(old, oracle.mth(entries[:old]), size, root, found)


@pytest.mark.parametrize("size", SIZES)
def test_a_frontier_grows_as_the_tree_does(size):
    grown = merkle.Frontier()
    for leaf in LEAVES[:size]:
        grown = grown.with_leaf(leaf)
    assert grown == merkle.Frontier.of(node_of(size), size)
    assert grown.root() == oracle.mth(ENTRIES[:size])


def test_the_frontier_of_nothing():
    assert merkle.Frontier().root() == merkle.root_of([]) == merkle.EMPTY


@given(st.data())
def test_a_proof_of_anything_else_is_refused(data):
    size = data.draw(st.integers(2, 40))
    node, root = node_of(size), oracle.mth(ENTRIES[:size])
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion(node, index, size)
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index))
    assert not merkle.is_included(LEAVES[other], index, size, proof, root)
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    flipped = bytearray(proof[at])
    flipped[bit // 8] ^= 1 << bit % 8
    assert not merkle.is_included(LEAVES[index], index, size, [*proof[:at], bytes(flipped), *proof[at + 1 :]], root)
    assert not merkle.is_included(LEAVES[index], index, size, proof[:-1], root)
    assert not merkle.is_included(LEAVES[index], index, size, [*proof, root], root)
    old = data.draw(st.integers(1, size - 1))
    between = merkle.consistency(node, old, size)
    assert not merkle.is_consistent(old, oracle.mth(ENTRIES[1 : old + 1]), size, root, between)
    assert not merkle.is_consistent(old, oracle.mth(ENTRIES[:old]), size, oracle.mth(ENTRIES[1:size]), between)
    assert not merkle.is_consistent(old, oracle.mth(ENTRIES[:old]), size, root, between[:-1])
    assert not merkle.is_consistent(old, oracle.mth(ENTRIES[:old]), size, root, [*between, root])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_what_is_not_there_has_no_proof(index, size):
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion(node_of(3), index, size)
    assert not merkle.is_included(LEAVES[0], index, size, [], merkle.EMPTY)


def test_a_smaller_tree_goes_on_from_no_larger_one():
    with pytest.raises(ValueError, match="does not go on"):
        merkle.consistency(node_of(3), 4, 3)
    assert not merkle.is_consistent(4, LEAVES[0], 3, LEAVES[0], [])
    assert not merkle.is_consistent(0, LEAVES[0], 3, LEAVES[0], [])
    assert not merkle.is_consistent(3, LEAVES[0], 3, LEAVES[1], [])
