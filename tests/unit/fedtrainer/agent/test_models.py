"""The models of orders, where fragments take turns: whatever a server says to ranges, the next order gets its model."""

import hashlib
from pathlib import Path

import pytest

from fedapi.wire.download import Download
from fedapi.wire.orders import TrainOrder
from fedapi.wire.training import Method, TrainingSettings
from fedtrainer.agent.models import Models
from fedtrainer.errors import LinkExpiredError
from tests.unit.fedtrainer.agent.test_changed_model import file_of, tensors


class Checkpoints:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def model(self, sha256: str) -> Path:
        return self._folder / f"model-{sha256}.safetensors"

    next_model = model


class Server:
    """Has models whole."""

    def __init__(self, *models: bytes) -> None:
        self._models = {hashlib.sha256(model).hexdigest(): model for model in models}

    def fill(self, *_):
        raise LinkExpiredError("the object store answers HTTP 403")

    def download(self, model, path):
        path.write_bytes(self._models[model.sha256])


def order(model: bytes, round_: int) -> TrainOrder:
    download = Download(url="https://hub/x", sha256=hashlib.sha256(model).hexdigest(), size=len(model), expires_at=1.0)
    training = TrainingSettings(method=Method(fragments=2))
    return TrainOrder(round=round_, attempt=1, model=download, deadline=1.0, seed=1, training=training, evaluate=True)


def test_a_server_that_refuses_ranges_is_asked_for_the_whole_by_the_next_order(tmp_path):
    before, after = tensors(1), tensors(2)
    first, second = file_of(before), file_of(before | {"0.weight": after["0.weight"]})
    models = Models(Server(first, second), Checkpoints(tmp_path))
    assert models.of(order(first, 1))[0].read_bytes() == first
    with pytest.raises(LinkExpiredError):  # which the site answers by asking what to do
        models.of(order(second, 2))
    assert models.of(order(second, 2))[0].read_bytes() == second
