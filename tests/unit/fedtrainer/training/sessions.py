"""A Session of this process over a task that a test has made, from its initial model on."""

import sys
from pathlib import Path
from types import ModuleType

from fedapi.wire.training import TrainingSettings
from fedtrainer import Data, Site, Task
from fedtrainer.ring.single import SingleRing
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec
from fedtrainer.training.tensors import read
from fedtrainer.training.writing import Trained


class One:
    """One site; each `train` is a round from the initial model."""

    def __init__(self, folder: Path, task: Task) -> None:
        module = ModuleType("task_of_a_test")
        module.task = lambda: task
        sys.modules[module.__name__] = module
        write_initial_model("task_of_a_test:task", {}, 7, 1, folder / "init")
        self.base = read(folder / "init" / "model.safetensors")
        self.folder = folder
        self.session = Session(Spec("task_of_a_test:task", {}, 7, 1, "site-a", folder), SingleRing("cpu"))
        self.session.load(folder / "init" / "model.safetensors")
        self.model = self.session._model

    def evaluate(self, **settings):
        return self.session.evaluate(self.session.data(1), 0, TrainingSettings(**settings), lambda: False)

    def train(self, **settings) -> Trained:
        data = self.session.data(1)
        return self.session.train(data, 1, TrainingSettings(**settings), self.folder / "round", lambda: False)

    def update(self):
        return read(self.folder / "round" / "update.safetensors")


class Given(Task):
    """A task of a model and its data."""

    def __init__(self, model, train, test=None) -> None:
        self.make, self.train_part, self.test_part = model, train, test

    def model(self):
        return self.make()

    def data(self, site: Site) -> Data:
        return Data(self.train_part, self.test_part)
