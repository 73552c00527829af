"""FedAvg (McMahan et al. 2017, algorithm 1): the mean of the updates weighted by n_k / n. Pure."""

from fractions import Fraction

from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights


def weights(cohort: Cohort, _parameters: Parameters) -> Weights:
    """n_k / n for each site, exactly; all zero when nobody has samples."""
    total = sum(update.samples for update in cohort.updates)
    return tuple(Fraction(update.samples, total) if total else Fraction(0) for update in cohort.updates)


STRATEGY = Strategy("FedAvg", weights, itemwise=True)
