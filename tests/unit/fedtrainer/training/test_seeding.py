"""What a task draws from the global generators depends on the job, the site and the round, and on no process's past."""

import random
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer import Data, EvalResult, Task
from fedtrainer.ring.single import SingleRing
from fedtrainer.training import seeding
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec

ENTRYPOINT = "task_that_draws:task"


def drawn() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002


class Draws(Task):
    """Notes what it has drawn, in all of its calls."""

    def __init__(self) -> None:
        self.drawn = {"factory": drawn()}

    def model(self):
        return torch.nn.Linear(2, 1)

    def data(self, site):
        self.drawn[f"data {site.round}"] = drawn()
        return Data((torch.rand(8, 2), torch.rand(8, 1)), (torch.rand(4, 2), torch.rand(4, 1)))

    def train(self, model, data, settings, ctx):
        done = super().train(model, data, settings, ctx)
        self.drawn[f"trained {ctx.site.round}"] = drawn()
        return done

    def evaluate(self, model, data, settings, ctx):
        self.drawn.setdefault(f"evaluate {ctx.site.round}", drawn())
        return EvalResult(4, {})


@pytest.fixture
def process(monkeypatch, tmp_path):
    """A process of a site at the job's initial model, whose generators are wherever they are."""
    module = ModuleType("task_that_draws")
    module.task = Draws
    monkeypatch.setitem(sys.modules, module.__name__, module)
    write_initial_model(ENTRYPOINT, {}, 7, 1, tmp_path / "init")

    def started(past: int, client: str = "a") -> Session:
        seeding.seed_everything(past)
        session = Session(Spec(ENTRYPOINT, {}, 7, 1, client, tmp_path), SingleRing("cpu"))
        session.load(tmp_path / "init" / "model.safetensors")
        return session

    return started


def done(session: Session, rounds: list[int], folder: Path) -> dict[str, tuple[float, float, float]]:
    for round_ in rounds:
        data = session.data(round_)
        session.evaluate(data, round_, TrainingSettings(), lambda: False)
        session.train(data, round_, TrainingSettings(), folder, lambda: False)
    return session._task.drawn


def test_a_new_process_draws_what_one_for_the_whole_job_does(process, tmp_path):
    whole = done(process(1), [1, 2, 3], tmp_path)
    each = [done(process(10 + round_), [round_], tmp_path) for round_ in (1, 2, 3)]
    assert each[0] | each[1] | each[2] == whole
    assert all(part["factory"] == whole["factory"] for part in each)
    assert len(set(whole.values())) == len(whole), "no two calls draw the same"


def test_sites_draw_numbers_of_their_own(process, tmp_path):
    ours, theirs = (done(process(1, client), [1], tmp_path) for client in "ab")
    assert {call for call in ours if ours[call] == theirs[call]} == {"factory"}
