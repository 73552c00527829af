"""The example on the Task API page is short, works as it stands, and the page names every setting and exit reason."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fedapi import outcome
from fedapi.wire.training import TrainingSettings
from fedtrainer import errors, settings
from fedtrainer.ring.single import SingleRing
from fedtrainer.ring.slot import Slot
from fedtrainer.training import tensors
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec
from fedtrainer.training.state_files import Committed, OrderState, StateFiles
from tests.unit.fedtrainer.training.ring_ranks import Script, alone, site

PAGE = (Path(__file__).parents[4] / "docs" / "task-api.md").read_text()
TASK, OWN_LOOP, OWN_HEAD = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def example(tmp_path, monkeypatch):
    assert len([line for line in TASK.splitlines() if line.strip()]) <= 30
    (tmp_path / "failures.py").write_text(TASK)
    (tmp_path / "own_loop.py").write_text(OWN_LOOP)
    (tmp_path / "own_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("failures", "own_loop", "own_head"):
        sys.modules.pop(name, None)


@pytest.fixture
def measured(example):
    folder = example / "data" / "machines"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    for name, rows in (("train.csv", 200), ("test.csv", 80)):
        inputs = torch.randn(rows, 8, generator=generator)
        lines = [",".join(f"{v:.4f}" for v in [*row.tolist(), float(row.sum() > 0)]) for row in inputs]
        (folder / name).write_text("\n".join(lines) + "\n")
    return example


def test_the_example_trains(measured):
    write_initial_model("failures:task", {"hidden": 32}, 7, 1, measured / "init")
    session = Session(Spec("failures:task", {"hidden": 32}, 7, 1, "site-a", measured / "data"), SingleRing("cpu"))
    session.load(measured / "init" / "model.safetensors")
    data = session.data(1)
    training = TrainingSettings(epochs=10, batch_size=16, optimizer={"learning_rate": 0.1})
    before = session.evaluate(data, 0, training, lambda: False)
    trained = session.train(data, 1, training, measured / "work", lambda: False)
    assert trained.samples == 200
    assert before.samples == 80
    assert trained.metrics["local_accuracy"] > max(0.85, before.metrics["accuracy"])
    assert list(tensors.read(measured / "work" / "update.safetensors")) == ["0.bias", "0.weight", "2.bias", "2.weight"]


def test_the_loop_of_ones_own_comes_to_what_the_default_does(measured):
    order = TrainingSettings(epochs=2, batch_size=16, optimizer={"learning_rate": 0.1})
    (default,) = alone(Script(measured, "", (order,), entrypoint="failures:task"))
    (own,) = alone(Script(measured, "", (order,), entrypoint="own_loop:task"))
    ranks = site(
        Script(measured, "", (order,), entrypoint="own_loop:task"), Slot(size=2, collective="TorchDistributed")
    )
    assert [found[-1].error for found in ranks] == ["", ""]
    for name, values in default.model.items():
        assert np.array_equal(own.model[name], values), "the same bits in one process"
        assert all(np.abs(found[0].model[name] - values).max() < 1e-5 for found in ranks)


def test_the_head_of_ones_own_stays_at_the_site(measured):
    write_initial_model("own_head:task", {"hidden": 32}, 7, 1, measured / "init")
    session = Session(Spec("own_head:task", {"hidden": 32}, 7, 1, "site-a", measured / "data"), SingleRing("cpu"))
    files, committed, scores = StateFiles(measured / "state"), None, []
    training = TrainingSettings(epochs=10, batch_size=16, optimizer={"learning_rate": 0.1})
    for round_ in (1, 2):
        session.load(measured / "init" / "model.safetensors", OrderState(files, committed, (round_, 1)))
        data = session.data(round_)
        scores.append(session.evaluate(data, round_ - 1, training, lambda: False).metrics["loss"])
        trained = session.train(data, round_, training, measured / "work", lambda: False)
        update = tensors.read(measured / "work" / "update.safetensors")
        assert {name: bool(tensor.any()) for name, tensor in update.items()} == {
            "0.weight": True, "0.bias": True, "2.weight": False, "2.bias": False,
        }  # fmt: skip
        committed = Committed((round_, 1), trained.file.sha256)
        files.promote(committed)
    assert scores[1] != scores[0], "the same model with a head of the site's own"
    assert sorted(tensors.read(files.current(committed).path)) == ["bias", "weight"]


def test_the_example_names_its_missing_data(example):
    session = Session(Spec("failures:task", {}, 7, 1, "site-a", example / "nowhere"), SingleRing("cpu"))
    with pytest.raises(errors.DataMissingError, match=r"nowhere/machines"):
        session.data(1)


def test_the_page_is_complete():
    for name in dir(settings):
        if name.startswith("ENV_"):
            assert f"`{getattr(settings, name)}`" in PAGE
    for error in (
        errors.TaskImportError,
        errors.DataMissingError,
        errors.TaskInvalidError,
        errors.TaskFailedError,
        errors.DataDiffersError,
    ):
        assert f"`{outcome.reason(error.exit)}` ({error.exit})" in PAGE
