"""Sums under masks as a ledger tells them: each named survivor set is one, two of one model are named, what cannot be is broken."""

import pytest

from fedcore.ledger import sums
from fedcore.ledger.entries import Entry
from fedcore.ledger.sums import UnsoundSumError


def of(kind, attempt=1, round_=1, **facts):
    return Entry(kind, 1, {"round": round_, "attempt": attempt, **facts})


def attempt(number, *, took_part="abc", survived="abc", opened="abc", round_=1, base="m", end="committed", **facts):
    """Its entries. `survived`, `opened`: empty where it did not come to that."""
    told = [of("planned", number, round_, base_sha256=base)]
    told += [of("participants", number, round_, first=0, participants=list(took_part))]
    told += [of("survivors", number, round_, first=0, survivors=list(survived))] if survived else []
    told += [of("opened", number, round_, first=0, openers=list(opened))] if opened else []
    return [*told, of(end, number, round_, **facts)]


def test_a_sum_is_one_once_its_survivors_are_named():
    told = [
        *attempt(1, survived="", opened="", end="attemptFailed"),
        *attempt(2, survived="ab", opened="", end="attemptFailed", rho="0.25"),
        *attempt(3, survived="abc", opened="ab"),
        *attempt(1, round_=2, base="n"),
    ]
    found = sums.told(told)
    assert [(each.round, each.attempt, each.end, each.rho) for each in found] == [
        (1, 2, "failed", "0.25"), (1, 3, "committed", ""), (2, 1, "committed", ""),
    ]  # fmt: skip
    assert [each.attempt for each in sums.of_one_model(found)["m"]] == [2, 3]
    assert sums.of_one_model(found).keys() == {"m"}
    assert found[0].text() == "round 1 attempt 2 (failed, rho 0.25), of a, b"


def test_many_sites_are_told_in_several_entries():
    parts = [of("participants", first=0, participants=["a", "b"]), of("participants", first=100, participants=["c"])]
    parts += [of("survivors", first=0, survivors=["a"]), of("survivors", first=100, survivors=["c"])]
    (found,) = sums.told(parts)
    assert (found.participants, found.survivors, found.end) == (frozenset("abc"), frozenset("ac"), "not over")


def test_what_a_repair_had_made_anew_is_another_sum():
    again = [*attempt(1, survived="ab", opened="ab"), *attempt(1, survived="ac", opened="ac")]
    assert [sorted(each.survivors) for each in sums.told(again)] == [["a", "b"], ["a", "c"]]


@pytest.mark.parametrize(
    ("made", "words", "entry"),
    [
        (attempt(1, took_part="ab"), "c survived, and had not taken part", 2),
        (attempt(1, survived="ab", opened="abc"), "c opened the sum, and had not survived", 3),
        (attempt(1, opened=""), "nobody had opened its sum", 3),
    ],
)
def test_what_cannot_be_is_named(made, words, entry):
    with pytest.raises(UnsoundSumError, match=words) as error:
        sums.told(made)
    assert error.value.entry == entry


def test_a_job_without_masks_has_none():
    assert sums.told([of("planned", base_sha256="m"), of("attemptFailed"), of("committed", 2)]) == []
