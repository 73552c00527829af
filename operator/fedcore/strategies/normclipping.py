"""Norm clipping (Sun et al. 2019, arXiv:1911.07963, section 5): FedAvg of updates cut to a length. Pure.

An update u counts with min(1, maxNorm / |u|) of its weight. Buffers and integers, to which the norm does not apply, are
averaged as in FedAvg.
"""

from fractions import Fraction

from fedcore.strategies import fedavg
from fedcore.strategies.geometry import norms
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights


def weights(cohort: Cohort, parameters: Parameters) -> Weights:
    """n_k / n, and less for what is too long."""
    longest = parameters["max_norm"]
    shares = [Fraction(longest / norm) if norm > longest else Fraction(1) for norm in norms(cohort.inner_products)]
    return tuple(weight * share for weight, share in zip(fedavg.weights(cohort, parameters), shares, strict=True))


STRATEGY = Strategy("NormClipping", weights, frozenset({"max_norm"}), buffers=fedavg.weights, gram=True)
