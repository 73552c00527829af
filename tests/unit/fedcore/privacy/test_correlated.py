"""Rows of a matrix, planned and charged for: the target is met by the last and never passed, and when a new matrix begins."""

import math
from dataclasses import replace

import pytest

from fedapi.wire.commit import CommitRecord
from fedapi.wire.message import ObjectRef
from fedapi.wire.privacy import Charge, MatrixFactorization, Mechanism, Privacy
from fedcore.privacy import correlated
from fedcore.privacy.account import Account
from fedcore.privacy.correlated import Place
from fedcore.privacy.factorization import sensitivity_squared
from fedcore.privacy.gaussian import epsilon_of, mu_of

DELTA = 1e-5
MODEL = ObjectRef(key="models/m", sha256="a" * 64, size=1)


def asked(noise: float | None = None, target: float | None = None, clip: float = 1.0, shape=(4, 5)) -> Privacy:
    bands, apart = shape
    return Privacy(
        mode="Central",
        clip_norm=clip,
        noise_multiplier=noise,
        target_epsilon=target,
        delta=DELTA,
        matrix_factorization=MatrixFactorization(bands=bands, min_separation=apart),
    )


def commit(round_: int, done: Mechanism | None = None, uid: str = "uid", **values) -> CommitRecord:
    charge = None
    if done is not None:
        row = done.row.released(f"{round_:064x}") if done.row else None
        numbers = done.model_dump(include={"mode", "clip_norm", "noise_multiplier", "delta"})
        charge = Charge(epsilon=0, row=row, **numbers)
    return CommitRecord(
        job_uid=uid,
        round=round_,
        attempt=1,
        epoch=1,
        model=MODEL,
        planned_at=1,
        committed_at=2,
        privacy=charge,
        **values,
    )


def planned(wanted: Privacy, account: Account, round_: int, rounds: int, uid: str = "uid") -> Mechanism | None:
    return correlated.mechanism(wanted, account, Place(uid, round_, rounds - round_ + 1), 8)


def run(wanted: Privacy, rounds: int, last: int | None = None, account: Account | None = None, first: int = 1):
    account, made = account or Account(), []
    for round_ in range(first, (last or rounds) + 1):
        done = planned(wanted, account, round_, rounds)
        if done is None:
            break
        made.append(done)
        account = account.with_commit(commit(round_, done))
    return account, made


@pytest.mark.parametrize("rounds", [1, 2, 17, 100])
@pytest.mark.parametrize("target", [0.5, 8.0])
def test_one_matrix_spends_the_target_and_no_more(rounds, target):
    account, made = run(asked(target=target), rounds)
    assert len(made) == rounds
    assert {done.row.since for done in made} == {1}
    (found,) = {done.noise_multiplier for done in made}
    assert found == pytest.approx(math.sqrt(sensitivity_squared(4, 5, rounds)) / mu_of(target, DELTA), rel=1e-7)
    assert account.epsilon(DELTA) == pytest.approx(target, rel=1e-6)
    assert account.epsilon(DELTA) <= target * (1 + 1e-9)
    assert planned(asked(target=target), account, rounds + 1, rounds) is None


def test_each_round_is_charged_for_what_its_row_adds():
    account, _ = run(asked(noise=2.0), 12)
    assert account.squares == pytest.approx(sensitivity_squared(4, 5, 12) / 4)
    assert account.epsilon(DELTA) == pytest.approx(epsilon_of(math.sqrt(account.squares), DELTA))


def test_noise_that_is_given_is_taken_until_the_target():
    account, made = run(asked(noise=2.0, target=4.0), 100)
    assert 0 < len(made) < 100
    after = sensitivity_squared(4, 5, len(made) + 1) / 4
    assert account.epsilon(DELTA) <= 4.0 < epsilon_of(math.sqrt(after), DELTA)


def test_a_round_has_parts_of_the_noise_of_the_rounds_before_it():
    _, made = run(asked(noise=1.0), 6)
    assert [[each.round for each in done.row.earlier] for done in made] == [
        [], [1], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5],
    ]  # fmt: skip
    assert made[5].row.earlier[0].drawn_for == f"{3:064x}"


def test_a_round_that_nobody_took_part_in_has_no_noise_and_is_a_row_all_the_same():
    account, _ = run(asked(noise=1.0), 9, last=3)
    account = account.with_commit(commit(4, skipped="NobodyDue"))
    done = planned(asked(noise=1.0), account, 5, 9)
    assert (done.row.since, [each.round for each in done.row.earlier]) == (1, [2, 3])
    assert account.with_commit(commit(5, done)).squares == pytest.approx(sensitivity_squared(4, 5, 5))


NEW_NUMBERS = [
    asked(noise=2.0),
    asked(noise=1.0, clip=2.0),
    asked(noise=1.0, shape=(3, 5)),
    asked(noise=1.0, shape=(4, 4)),
]


@pytest.mark.parametrize("other", NEW_NUMBERS, ids=["noise", "clip", "bands", "separation"])
def test_with_other_numbers_a_new_matrix_begins_and_both_are_charged_for(other):
    account, _ = run(asked(noise=1.0), 9, last=4)
    before = account.squares
    done = planned(other, account, 5, 9)
    assert (done.row.since, done.row.earlier) == (5, ())
    account = account.with_commit(commit(5, done))
    assert account.squares == pytest.approx(before + done.noise_multiplier**-2)
    account, made = run(other, 9, account=account, first=6)
    assert {each.row.since for each in made} == {5}
    shape = other.matrix_factorization
    added = sensitivity_squared(shape.bands, shape.min_separation, 5) / done.noise_multiplier**2
    assert account.squares == pytest.approx(before + added)


@pytest.mark.parametrize("change", ["more rounds", "another target"])
def test_what_is_left_is_spent_by_the_rounds_that_are(change):
    account, made = run(asked(target=8.0), 10, last=5)
    rounds, target = (15, 8.0) if change == "more rounds" else (10, 6.0)
    after, others = run(asked(target=target), rounds, account=account, first=6)
    assert {done.row.since for done in others} == {6}
    assert len({done.noise_multiplier for done in others}) == 1
    assert others[0].noise_multiplier > made[0].noise_multiplier
    assert after.epsilon(DELTA) == pytest.approx(target, rel=1e-6)


def test_after_a_rollback_a_new_matrix_begins_and_nothing_is_given_back():
    account, _ = run(asked(noise=1.0), 9, last=3)
    back = account.with_commit(commit(4, rolled_back_to=1))
    assert back == replace(account, matrix=None)
    assert planned(asked(noise=1.0), back, 5, 9).row.since == 5


def test_a_job_that_was_restored_begins_a_new_matrix():
    """The noise of the job that was backed up has that job's key."""
    account, _ = run(asked(noise=1.0), 9, last=3)
    assert planned(asked(noise=1.0), account, 4, 9).row.since == 1
    assert planned(asked(noise=1.0), account, 4, 9, uid="another").row.since == 4


def test_independent_noise_after_a_matrix_adds_its_own():
    account, _ = run(asked(noise=1.0), 9, last=3)
    plain = Mechanism(mode="Central", clip_norm=1, clipping="Flat", noise_multiplier=2.0, delta=DELTA, denominator=8)
    after = account.with_commit(commit(4, plain))
    assert after.squares == pytest.approx(account.squares + 0.25)
    assert after.matrix is None


def test_records_without_a_matrix_are_what_they_were():
    plain = Mechanism(mode="Central", clip_norm=1, clipping="Flat", noise_multiplier=2.0, delta=DELTA, denominator=8)
    assert plain.model_dump(mode="json").keys() == {
        "mode", "clip_norm", "clipping", "noise_multiplier", "delta", "denominator",
    }  # fmt: skip
    assert b"row" not in commit(1, plain).canonical()
    assert b"matrix" not in Privacy(mode="Central", clip_norm=1, noise_multiplier=1, delta=DELTA).canonical()
