"""What all parts share: a training that was killed goes on with the same bits, and what the site keeps is not the task's."""

import pytest
import torch

from fedapi.wire.update import CONTROL
from fedtrainer import Data, Task
from fedtrainer.errors import BadSettingsError, TaskInvalidError
from fedtrainer.training.site_state import SiteState
from tests.unit.fedtrainer.training.methods.federation import Federation, settings

INPUTS = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(0, 2, (20,), generator=torch.Generator().manual_seed(2))
ADAMW = {"name": "AdamW", "learning_rate": 0.01}
STRATEGIES = [
    ("FedProx", {"mu": 0.5}, {}),
    ("FedSGD", {"learning_rate": 0.1}, {"epochs": 1, "local_steps": None}),
    ("SCAFFOLD", {"learning_rate": 1.0}, {}),
    ("DiLoCo", {"learning_rate": 0.7, "momentum": 0.9}, {"optimizer": ADAMW}),
]


class Dying(Task):
    """Dies at a step, counted over all rounds."""

    die_at = 0

    def __init__(self):
        self.steps = 0

    def model(self):
        return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.2), torch.nn.Linear(3, 2))

    def data(self, site):
        return Data((INPUTS, TARGETS))

    def loss(self, outputs, targets):
        self.steps += 1
        if self.steps == self.die_at:
            raise KeyboardInterrupt
        return super().loss(outputs, targets)


@pytest.mark.parametrize("die_at", [6, 7, 9])  # the second round has steps 6 to 10
@pytest.mark.parametrize(("strategy", "numbers", "said"), STRATEGIES, ids=[row[0] for row in STRATEGIES])
def test_a_training_that_was_killed_goes_on_with_the_same_bits(tmp_path, strategy, numbers, said, die_at):
    given = settings(batch_size=4, checkpoint_every_s=0.0, **{"local_steps": 5, **said})
    whole = Federation(tmp_path / "whole", {"a": Dying(), "b": Dying()}, strategy, given, **numbers)
    broken = Federation(tmp_path / "broken", {"a": (task := Dying()), "b": Dying()}, strategy, given, **numbers)
    whole.go_on(), broken.go_on()
    task.die_at = die_at
    with pytest.raises(BaseException, match="KeyboardInterrupt"):
        broken.train("a")
    expected, found = whole.train("a"), broken.train("a")
    assert task.steps == 11, "it goes on at the very step"
    assert found.file == expected.file
    assert dict(found.beside) == dict(expected.beside)
    one, other = whole.go_on(), broken.go_on()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(value, broken.state("a")[name]) for name, value in whole.state("a").items())


def test_a_task_does_not_see_what_methods_keep():
    state = SiteState({})
    state.keep(CONTROL, {"w": torch.ones(2)})
    state["own"] = torch.zeros(1)
    assert (list(state), len(state), state.get("fedloom.control.w")) == (["own"], 1, None)
    assert sorted(state.whole()) == ["fedloom.control.w", "own"]
    state.clear()
    assert list(state.part(CONTROL)) == ["w"], "it is no task's to delete"
    with pytest.raises(TaskInvalidError, match="Fedloom's own"):
        state["fedloom.control.w"] = torch.zeros(1)
    state.keep(CONTROL, {})
    assert state.whole() == {}


@pytest.mark.parametrize("strategy", ["FedSGD", "SCAFFOLD"])
def test_float16_leaves_out_steps_that_would_be_missed(tmp_path, strategy):
    job = Federation(tmp_path, {"a": Dying()}, strategy, settings(mixed_precision="Float16"), learning_rate=1.0)
    with pytest.raises(BadSettingsError, match="use BFloat16"):
        job.go_on()


@pytest.mark.parametrize(("strategy", "numbers", "said"), STRATEGIES, ids=[row[0] for row in STRATEGIES])
def test_bfloat16_parameters(tmp_path, strategy, numbers, said):
    class Narrow(Dying):
        def model(self):
            return super().model().to(torch.bfloat16)

    job = Federation(tmp_path, {"a": Narrow(), "b": Narrow()}, strategy, settings(batch_size=4, **said), **numbers)
    first = job.now()
    for _ in range(2):
        model = job.go_on()
    assert {tensor.dtype for tensor in model.values()} == {torch.bfloat16}
    assert not torch.equal(model["0.weight"], first["0.weight"])
    assert all(torch.isfinite(tensor).all() for tensor in model.values())
    if strategy == "SCAFFOLD":
        assert {tensor.dtype for tensor in job.payload("a", CONTROL).values()} == {torch.float32}
