"""FLTrust (Cao et al. 2021, arXiv:2012.13995, algorithm 2): each update counts by how far it points where a trusted one does. Pure.

The root client's update u0 is the anchor and is not averaged itself. Trust is relu(cos(u_i, u0)), and every update is scaled to
the length of u0: x <- x + sum(trust_i * |u0| / |u_i| * u_i) / sum(trust_i). Where nobody is trusted the model stays.
"""

import math
from fractions import Fraction

from fedapi.wire.fewest import fewest
from fedcore.strategies.geometry import norms
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights
from fedcore.tensors import integers

NAME = "FLTrust"


def weights(cohort: Cohort, _parameters: Parameters) -> Weights:
    """trust_i / sum(trust) * |u0| / |u_i|; 0 for the root client, for who is as far as it can be from it, and for zeros."""
    trust = _trust(cohort)
    total, lengths = math.fsum(trust), norms(cohort.inner_products)
    return tuple(
        Fraction(each / total * (lengths[_root(cohort)] / length)) if each else Fraction(0)
        for each, length in zip(trust, lengths, strict=True)
    )


def buffers(cohort: Cohort, _parameters: Parameters) -> Weights:
    """By trust alone: a length of parameters says nothing of a running mean."""
    trust = _trust(cohort)
    total = math.fsum(trust)
    return tuple(Fraction(each / total) if each else Fraction(0) for each in trust)


def _root(cohort: Cohort) -> int:
    return next(index for index, update in enumerate(cohort.updates) if update.client == cohort.root)


def _trust(cohort: Cohort) -> list[float]:
    """Relu of the cosine to the root client's update; 0 for that itself."""
    root, lengths = _root(cohort), norms(cohort.inner_products)
    along = cohort.inner_products[root].tolist()
    return [
        max(0.0, product) / (length * lengths[root]) if index != root and length and lengths[root] else 0.0
        for index, (product, length) in enumerate(zip(along, lengths, strict=True))
    ]


STRATEGY = Strategy(
    NAME,
    weights,
    buffers=buffers,
    integers=integers.median,
    least=lambda _parameters: fewest(NAME),
    gram=True,
    rooted=True,
)
