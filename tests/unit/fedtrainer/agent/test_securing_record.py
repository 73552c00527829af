"""An attempt that a site has left it joins no more, and it says when a second sum is opened from one model."""

import logging

import pytest

from fedapi.wire.job import TrainingSettings
from fedapi.wire.site import Download, TrainOrder
from fedtrainer.agent.securing_record import LEFT, MaskedRounds
from fedtrainer.errors import BadSettingsError, RejectedError


def order(attempt: int, round_: int = 4, base: str = "a") -> TrainOrder:
    model = Download(url="https://hub/model", sha256=base * 64, size=1, expires_at=0.0)
    common = {"evaluate": False, "deadline": 0.0, "seed": 1, "training": TrainingSettings()}
    return TrainOrder(round=round_, attempt=attempt, model=model, **common)


def test_an_attempt_that_was_left_is_not_joined_again_by_the_next_process(tmp_path):
    MaskedRounds(tmp_path).check(order(1))
    MaskedRounds(tmp_path).leave(order(1))
    with pytest.raises(RejectedError, match="has left attempt 1 of round 4") as raised:
        MaskedRounds(tmp_path).check(order(1))
    assert raised.value.code == LEFT
    MaskedRounds(tmp_path).check(order(2))


def test_of_an_attempt_from_another_model_nothing_was_left(tmp_path):
    MaskedRounds(tmp_path).leave(order(1))
    MaskedRounds(tmp_path).check(order(1, base="b"))
    MaskedRounds(tmp_path).leave(order(1, round_=5, base="b"))
    MaskedRounds(tmp_path).check(order(1))


def test_a_second_sum_from_one_model_is_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        MaskedRounds(tmp_path).open(order(1))
        MaskedRounds(tmp_path).open(order(1))
        MaskedRounds(tmp_path).open(order(1, round_=5, base="b"))
        assert caplog.text == ""
        MaskedRounds(tmp_path).open(order(2, round_=5, base="b"))
    assert "opens a sum of another attempt from the same model" in caplog.text


def test_a_damaged_record_is_told_with_the_way_out(tmp_path):
    MaskedRounds(tmp_path).leave(order(1))
    (tmp_path / "masked-rounds.json").write_text("{")
    with pytest.raises(BadSettingsError, match=r"masked-rounds\.json cannot be read .*: delete it"):
        MaskedRounds(tmp_path).check(order(1))
