"""An attempt that a site has left it joins no more, it says when a second sum is opened from one model, and masks are not left out later."""

import json
import logging
import re

import pytest

from fedapi.wire.download import Download
from fedapi.wire.orders import TrainOrder
from fedapi.wire.secagg import Terms
from fedapi.wire.secureround import SecureOrder
from fedapi.wire.training import TrainingSettings
from fedtrainer.agent.securing_record import LEFT, MaskedRounds
from fedtrainer.errors import BadSettingsError, RejectedError

MASKS = SecureOrder(
    terms=Terms(
        job_uid="job",
        round=4,
        attempt=1,
        base_sha256="a" * 64,
        roster={"ada": bytes(32), "bob": bytes([1] * 32)},
        threshold=2,
        colluding=0,
        minimum_cohort=2,
        items=3,
        limit=8.0,
    ),
    overflow="Fail",
)


CKKS = MASKS.model_copy(update={"terms": MASKS.terms.model_copy(update={"scheme": "CKKS"})})


def order(attempt: int, round_: int = 4, base: str = "a", secure: SecureOrder | None = MASKS) -> TrainOrder:
    model = Download(url="https://hub/model", sha256=base * 64, size=1, expires_at=0.0)
    common = {"evaluate": False, "deadline": 0.0, "seed": 1, "training": TrainingSettings()}
    return TrainOrder(round=round_, attempt=attempt, model=model, secure=secure, **common)


def test_an_attempt_that_was_left_is_not_joined_again_by_the_next_process(tmp_path):
    MaskedRounds(tmp_path).check(order(1))
    MaskedRounds(tmp_path).leave(order(1))
    with pytest.raises(RejectedError, match="has left attempt 1 of round 4") as raised:
        MaskedRounds(tmp_path).check(order(1))
    assert raised.value.code == LEFT
    MaskedRounds(tmp_path).check(order(2))


def test_an_attempt_that_was_left_is_remembered_over_orders_from_other_models(tmp_path):
    MaskedRounds(tmp_path).leave(order(1))
    MaskedRounds(tmp_path).check(order(1, base="b"))
    MaskedRounds(tmp_path).leave(order(1, round_=5, base="b"))
    with pytest.raises(RejectedError, match="has left attempt 1 of round 4"):
        MaskedRounds(tmp_path).check(order(1))


def test_a_second_sum_from_one_model_is_told_whatever_was_opened_in_between(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        MaskedRounds(tmp_path).open(order(1))
        MaskedRounds(tmp_path).open(order(1))
        MaskedRounds(tmp_path).open(order(1, round_=5, base="b"))
        assert caplog.text == ""
        MaskedRounds(tmp_path).open(order(2))
    assert "opens a sum of another attempt from the same model" in caplog.text
    assert caplog.records[-1].fields["before"] == ["round 4 attempt 1"]


@pytest.mark.parametrize(
    ("began", "later", "said"),
    [
        (MASKS, None, "MasksLeftOut: round 4 asks for plain updates, and the job began with masked updates: a job keeps privacy.secureAggregation"),
        (MASKS, CKKS, "MasksLeftOut: round 4 asks for encrypted updates, and the job began with masked updates"),
        (CKKS, None, "EncryptionLeftOut: round 4 asks for plain updates, and the job began with encrypted updates: a job keeps privacy.homomorphicEncryption"),
        (CKKS, MASKS, "EncryptionLeftOut: round 4 asks for masked updates, and the job began with encrypted updates"),
    ],
)  # fmt: skip
def test_a_job_hides_updates_as_it_began(tmp_path, began, later, said):
    MaskedRounds(tmp_path).check(order(1, secure=None))
    MaskedRounds(tmp_path).check(order(1, secure=began))
    MaskedRounds(tmp_path).leave(order(1, secure=began))
    MaskedRounds(tmp_path).open(order(2, secure=began))
    with pytest.raises(RejectedError, match=re.escape(said)):
        MaskedRounds(tmp_path).check(order(3, secure=later))
    MaskedRounds(tmp_path).check(order(3, secure=began))


def test_a_record_of_before_there_was_encryption_is_of_masks(tmp_path):
    MaskedRounds(tmp_path).check(order(1))
    assert json.loads((tmp_path / "masked-rounds.json").read_bytes()).keys() == {"left", "opened", "checksum"}
    with pytest.raises(RejectedError, match="MasksLeftOut"):
        MaskedRounds(tmp_path).check(order(2, secure=CKKS))


def test_a_damaged_record_is_told_with_the_way_out(tmp_path):
    MaskedRounds(tmp_path).leave(order(1))
    (tmp_path / "masked-rounds.json").write_text("{")
    with pytest.raises(BadSettingsError, match=r"masked-rounds\.json cannot be read .*: delete it"):
        MaskedRounds(tmp_path).check(order(1))
