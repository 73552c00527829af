"""What an order asks for is done, or is told by name."""

import sys
from types import SimpleNamespace

import pytest

from fedapi.wire.ciphertext import CiphertextError
from fedapi.wire.download import Download
from fedapi.wire.encryption import HubKey
from fedapi.wire.orders import Encrypt, TrainOrder
from fedapi.wire.training import TrainingSettings
from fedtrainer.agent.encrypting import encryption
from fedtrainer.errors import BadSettingsError
from tests.unit.fedapi.wire.test_encryption import JOB_KEY, PLACE, decrypted

SETTINGS = SimpleNamespace(job_uid=PLACE.job_uid, client=PLACE.client)


def order(kem=None, **training) -> TrainOrder:
    encrypt = Encrypt(kem=kem, public_key=HubKey(JOB_KEY).recipient(kem).public_key) if kem else None
    model = Download(url="https://hub/m", sha256=PLACE.base_sha256, size=1, expires_at=0.0)
    values = {
        "deadline": 0.0,
        "seed": 1,
        "training": TrainingSettings(**training),
        "evaluate": False,
        "encryption": encrypt,
    }
    return TrainOrder(round=PLACE.round, attempt=PLACE.attempt, model=model, **values)


def encrypted(encryption_, data):
    return b"".join(map(bytes, encryption_.encrypted([data])))


def test_nothing_is_encrypted_that_need_not_be():
    assert encryption(order(), SETTINGS) == {}


def test_each_training_has_a_key_of_its_own():
    sent = [encrypted(encryption(order("X25519"), SETTINGS)["update"], b"update") for _ in range(2)]
    assert sent[0] != sent[1]
    assert [decrypted(data) for data in sent] == [b"update"] * 2


def test_each_payload_has_a_key_and_a_place_of_its_own():
    found = encryption(order("X25519", method={"control_variates": 2}), SETTINGS)
    assert found.keys() == {"update", "control"}
    sent = encrypted(found["control"], b"control")
    assert decrypted(sent, place=PLACE.model_copy(update={"payload": "control"})) == b"control"
    with pytest.raises(CiphertextError):
        decrypted(sent)


def test_an_image_without_the_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fedapi.wire.encryption", None)
    with pytest.raises(
        BadSettingsError, match=r"storage.clientEncryption X25519: .* build the task image with fedloom\[trainer\]"
    ):
        encryption(order("X25519"), SETTINGS)
