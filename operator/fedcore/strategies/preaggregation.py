"""What may be made of the updates before a robust rule sees them: means over groups of them. Pure.

Sites with unlike data send unlike updates, which such a rule takes for attacks; means over groups are more alike.
Called by weighing.py. A group is the indices of its updates; what a rule does with means is done with their inner products.
"""

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from fedapi.wire.seeds import derived
from fedapi.wire.strategy import PreAggregation
from fedcore.strategies.geometry import nearest, squared_distances
from fedcore.strategies.strategy import Cohort
from fedcore.tensors.arithmetic import Array

Groups = tuple[tuple[int, ...], ...]


def needs_gram(pre: PreAggregation | None) -> bool:
    """Whether groups are found by distances."""
    return pre is not None and pre.name == "NearestNeighbourMixing"


def groups(pre: PreAggregation, cohort: Cohort) -> Groups:
    """The groups whose means take the place of the updates."""
    match pre.name:
        case "NearestNeighbourMixing":
            return neighbours(cohort.inner_products, pre.byzantine)
        case "Bucketing":
            return buckets(cohort, pre.bucket_size)
    assert_never(pre.name)


def neighbours(gram: Array, byzantine: int) -> Groups:
    """Each update with its n - f - 1 nearest others (Allouah et al. 2023, arXiv:2302.01772, algorithm 2)."""
    squares = squared_distances(gram)
    return tuple(tuple(sorted(nearest(row, len(row) - byzantine))) for row in squares)


def buckets(cohort: Cohort, size: int) -> Groups:
    """Groups of so many, the last perhaps of fewer, drawn by the attempt's seed (Karimireddy et al. 2022, arXiv:2006.09365)."""
    updates = cohort.updates
    drawn = sorted(range(len(updates)), key=lambda i: (derived(cohort.seed, "bucket", updates[i].client), i))
    return tuple(tuple(sorted(drawn[start : start + size])) for start in range(0, len(drawn), size))


def mixed(gram: Array, found: Groups) -> Array:
    """The inner products of the means: M G M^T, added row by row in a fixed order."""
    half = _means(gram, found)
    whole = _means(np.ascontiguousarray(half.T), found)
    return (whole + whole.T) / 2


def _means(rows: Array, found: Sequence[Sequence[int]]) -> Array:
    return np.stack([rows[list(group)].sum(axis=0) / len(group) for group in found])
