"""Tiles have the paths and the content that C2SP tlog-tiles says, and nodes read from them are those of the tree."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.ledger import merkle, tiles
from fedcore.ledger.tiles import MalformedTileError, Tile


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(None, 7, 1), "tile/entries/007.p/1"),
    ],
)
def test_paths(tile, path):
    assert tile.path == path


def test_the_files_of_seventy_thousand_entries():
    """As the specification counts them for a tree of that size."""
    found = list(tiles.hash_tiles(70_000))
    assert len([each for each in found if each.level == 0 and not each.is_partial]) == 273
    assert [each.path for each in found if each.is_partial] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]


@given(st.integers(0, 1500), st.integers(0, 1500))
def test_what_is_written_between_two_sizes_is_what_the_second_has_and_the_first_has_not(one, other):
    old, size = sorted((one, other))
    before, after = set(tiles.hash_tiles(old)), set(tiles.hash_tiles(size))
    assert set(tiles.hash_tiles(size, old)) == after - before


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700, 66_000])
def test_nodes_come_from_tiles(size):
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(size)]
    made = merkle.levels(leaves)
    read = {
        each: made[each.level * tiles.HEIGHT][each.index * tiles.WIDTH :][: each.width]
        for each in tiles.hash_tiles(size)
    }
    node = tiles.nodes(size, lambda each: read[each])
    assert merkle.root(node, size) == merkle.root_of(leaves)
    assert merkle.inclusion(node, size // 2, size) == merkle.inclusion(lambda n, i: made[n][i], size // 2, size)
    assert merkle.Frontier.of(node, size).root() == merkle.root_of(leaves)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_is_read_as_it_was_written(entries):
    assert tiles.entries_of(tiles.bundle(entries), len(entries)) == entries


@given(st.binary(max_size=600), st.integers(0, 256))
def test_any_bytes_are_a_bundle_or_malformed(data, width):
    with contextlib.suppress(MalformedTileError):
        found = tiles.entries_of(data, width)
        assert len(found) == width
        assert tiles.bundle(found) == data


@pytest.mark.parametrize(("data", "whole"), [(b"\0\1a\0\2b", 1), (b"\0\1a\0", 1), (b"", 0), (b"\0\1a\0\1b\0", 2)])
def test_a_broken_bundle_says_how_much_of_it_is_whole(data, whole):
    with pytest.raises(MalformedTileError) as caught:
        tiles.entries_of(data, 2)
    assert caught.value.entries == whole


@given(st.binary(max_size=100), st.integers(0, 4))
def test_any_bytes_are_hashes_or_malformed(data, width):
    try:
        found = tiles.hashes_of(data, width)
    except MalformedTileError:
        assert len(data) != 32 * width
    else:
        assert b"".join(found) == data


@given(st.lists(st.integers(1, 700), max_size=5))
def test_an_edge_that_grows_in_steps_makes_the_tiles_of_the_whole(steps):
    size, edge, made = 0, (), {}
    leaves = [merkle.leaf_hash(b"%d" % number) for number in range(sum(steps))]
    for step in steps:
        edge, more = tiles.grown(edge, size, leaves[size : size + step])
        size += step
        assert more.keys() == set(tiles.hash_tiles(size, size - step))
        made |= more
    node = merkle.levels(leaves)
    for each in tiles.hash_tiles(size):
        assert made[each] == node[each.level * tiles.HEIGHT][each.index * tiles.WIDTH :][: each.width]


def test_no_tile_beyond_the_end():
    with pytest.raises(ValueError, match="no tile 1"):
        tiles.tile(256, 0, 1)
