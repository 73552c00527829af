"""The example on the Task API page is short, works as it stands, and the page names every setting and exit reason."""

import re
import sys
from pathlib import Path

import pytest
import torch

from fedapi import outcome
from fedapi.wire.job import TrainingSettings
from fedtrainer import errors, settings
from fedtrainer.training import tensors
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec

PAGE = (Path(__file__).parents[3] / "docs" / "task-api.md").read_text()


@pytest.fixture
def example(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    (tmp_path / "failures.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("failures", None)


def test_the_example_trains(example):
    folder = example / "data" / "machines"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    for name, rows in (("train.csv", 200), ("test.csv", 80)):
        inputs = torch.randn(rows, 8, generator=generator)
        lines = [",".join(f"{v:.4f}" for v in [*row.tolist(), float(row.sum() > 0)]) for row in inputs]
        (folder / name).write_text("\n".join(lines) + "\n")
    write_initial_model("failures:task", {"hidden": 32}, 7, 1, example / "init")
    session = Session(Spec("failures:task", {"hidden": 32}, 7, 1, "site-a", example / "data", 0.0))
    session.load(example / "init" / "model.safetensors")
    data = session.data(1)
    training = TrainingSettings(epochs=10, batch_size=16, optimizer={"learning_rate": 0.1})
    before = session.evaluate(data, 0, training, lambda: False)
    trained = session.train(data, 1, training, example / "work", lambda: False)
    assert trained.samples == 200
    assert before.samples == 80
    assert trained.metrics["local_accuracy"] > max(0.85, before.metrics["accuracy"])
    assert list(tensors.read(example / "work" / "update.safetensors")) == ["0.bias", "0.weight", "2.bias", "2.weight"]


def test_the_example_names_its_missing_data(example):
    session = Session(Spec("failures:task", {}, 7, 1, "site-a", example / "nowhere", 0.0))
    with pytest.raises(errors.DataMissing, match=r"nowhere/machines"):
        session.data(1)


def test_the_page_is_complete():
    for name in dir(settings):
        if name.startswith("ENV_"):
            assert f"`{getattr(settings, name)}`" in PAGE
    for error in (errors.TaskImport, errors.DataMissing, errors.TaskInvalid, errors.TaskFailed):
        assert f"`{outcome.reason(error.exit)}` ({error.exit})" in PAGE
