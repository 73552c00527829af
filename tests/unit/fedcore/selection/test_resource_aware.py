"""Policy ResourceAware: sites that would miss the deadline are left out, unknown ones are tried, nobody for ever."""

import pytest

from fedcore.selection import resource_aware
from fedcore.selection.candidates import Candidate
from tests.unit.fedcore.selection.drawing import draw, names

DEADLINE = {"deadline_s": 100.0}


@pytest.mark.parametrize(
    ("facts", "round_", "left_out"),
    [
        ({}, 5, False),
        ({"training_s": (79.0, 10.0)}, 5, False),
        ({"training_s": (10.0, 81.0, 10.0), "last_round": 4}, 5, True),  # with its margin 101 s
        ({"training_s": (10.0, 81.0, 10.0), "last_round": 4}, 36, True),
        ({"training_s": (10.0, 81.0, 10.0), "last_round": 4}, 37, False),
        ({"missed": 1, "missed_round": 4, "missed_s": 100.0}, 5, True),
        ({"missed": 1, "missed_round": 4, "missed_s": 100.0}, 6, False),  # one round later it is tried again
        ({"missed": 3, "missed_round": 4, "missed_s": 100.0}, 8, True),
        ({"missed": 3, "missed_round": 4, "missed_s": 100.0}, 9, False),
        ({"missed": 40, "missed_round": 4, "missed_s": 100.0}, 36, True),
        ({"missed": 40, "missed_round": 4, "missed_s": 100.0}, 37, False),
        ({"missed": 2, "missed_round": 4, "missed_s": 30.0}, 5, False),  # those rounds were over after 30 s
        ({"missed": 1, "missed_round": 4, "missed_s": 100.0, "training_s": (90.0,)}, 9, False),
    ],
)
def test_who_is_too_slow(facts, round_, left_out):
    assert resource_aware.too_slow(Candidate("a", **facts), draw(round_=round_, **DEADLINE)) is left_out


FAST = [Candidate(f"fast{n}", training_s=(10.0 + n,)) for n in range(3)]
SLOW = [Candidate("slow1", training_s=(300.0,)), Candidate("slow2", training_s=(200.0,))]
SILENT = [Candidate("silent", missed=1, missed_round=4, missed_s=100.0)]


def test_all_that_are_in_time_or_as_many_as_are_wanted():
    everyone = [*FAST, *SLOW, *SILENT, Candidate("new")]
    assert names(resource_aware.chosen(everyone, draw(7, 5, **DEADLINE))) == ["fast0", "fast1", "fast2", "new"]
    assert len(list(resource_aware.chosen(everyone, draw(2, 5, **DEADLINE)))) == 2


def test_where_too_few_are_in_time_those_come_back_that_need_least():
    everyone = [*FAST[:1], *SLOW, *SILENT]
    assert names(resource_aware.chosen(everyone, draw(4, 5, least=2, **DEADLINE))) == ["fast0", "slow2"]
    assert names(resource_aware.chosen(everyone, draw(4, 5, least=4, **DEADLINE))) == [
        "fast0",
        "silent",
        "slow1",
        "slow2",
    ]
    assert names(resource_aware.chosen(SLOW, draw(2, 5, **DEADLINE))) == ["slow2"], "a round needs one at least"
