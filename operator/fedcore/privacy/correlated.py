"""What is done to the updates of a round whose noise is correlated with that of the rounds before. Pure; called by the rounds' budget.

A matrix goes on as long as its numbers would be chosen again. With other ones (another clip norm, target or number of rounds), in a
job that was restored from another's backup, whose noise has that job's key, and after a rollback a new one begins.
"""

from dataclasses import dataclass, replace

from fedapi.wire.privacy import Mechanism, Privacy
from fedcore.privacy.account import Account, calibrated
from fedcore.privacy.matrix import Matrix


@dataclass(frozen=True)
class Place:
    """Of the next release."""

    job_uid: str
    round: int
    rounds_left: int  # it included


def mechanism(asked: Privacy, account: Account, place: Place, denominator: int) -> Mechanism | None:
    """What a plan freezes; None: the round would pass the target."""
    matrix = _going_on(asked, account, place) or _new(asked, account, place)
    if matrix is None or not replace(account, squares=matrix.squares(place.round)).within(asked):
        return None
    return Mechanism(
        mode=asked.mode,
        clip_norm=asked.clip_norm,
        clipping=asked.clipping,
        noise_multiplier=matrix.noise_multiplier,
        delta=asked.delta,
        denominator=denominator,
        row=matrix.row(place.round),
    )


def _going_on(asked: Privacy, account: Account, place: Place) -> Matrix | None:
    """The matrix of the last release, where it would be chosen again."""
    last = account.matrix
    if last is None:
        return None
    again = _chosen(asked, last.before, replace(place, round=last.since), place.round - last.since)
    return last if again is not None and again == replace(last, drawn=()) else None


def _new(asked: Privacy, account: Account, place: Place) -> Matrix | None:
    return _chosen(asked, account.squares, place, 0)


def _chosen(asked: Privacy, spent: float, first: Place, rows_before: int) -> Matrix | None:
    """The matrix that begins at a round, for all that follow; None: nothing is left to spend."""
    shape = asked.matrix_factorization
    if shape is None:
        raise ValueError("no matrix is asked for")
    made = Matrix(
        job_uid=first.job_uid,
        bands=shape.bands,
        min_separation=shape.min_separation,
        since=first.round,
        clip_norm=asked.clip_norm,
        noise_multiplier=1.0,
        before=spent,
    )
    rows = max(1, rows_before + first.rounds_left)
    found = calibrated(asked, spent, made.sensitivity_squared(rows))
    return None if found is None else replace(made, noise_multiplier=found)
