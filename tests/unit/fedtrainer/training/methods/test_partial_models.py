"""Methods in jobs of whose model a part is frozen and a part stays at each site: they have to do with what travels alone."""

import numpy as np
import pytest
import torch

from tests.unit.fedtrainer.training.methods.federation import Federation, settings
from tests.unit.fedtrainer.training.methods.quadratics import WIDTH, Layered

STEPS, RATE, MU = 4, 0.1, 0.5
FROZEN, TRAVELS, LOCAL = (np.arange(WIDTH) == index for index in range(WIDTH))
NAMES = [f"parts.{index}.weight" for index in range(WIDTH)]
KEPT = settings(local_steps=STEPS, optimizer={"learning_rate": RATE}, local_parameters=(NAMES[2],))


class Partial(Layered):
    """Of three weights the first is frozen, and the last is each site's own."""

    def model(self):
        made = super().model()
        made.parts[0].weight.requires_grad_(False)
        return made


TASKS = {"a": Partial(1), "b": Partial(2, samples=9)}
ROUNDS = [("a", "b"), ("a",), ("a", "b"), ("b",), ("a", "b")]


def expected(strategy):
    """The weight that travels after each round, with the others as they are; at last those of the sites."""
    hub, c = np.ones(WIDTH), np.zeros(WIDTH)
    own, control = ({name: value.copy() for name in TASKS} for value in (np.ones(WIDTH), np.zeros(WIDTH)))
    found = []
    for names in ROUNDS:
        total, update = sum(len(TASKS[name].targets) for name in names), np.zeros(WIDTH)
        changes = np.zeros(WIDTH)
        for name in names:
            y, mean = np.where(LOCAL, own[name], hub), np.zeros(WIDTH)
            for _ in range(STEPS):
                gradient = TASKS[name].gradient(y)
                mean += gradient / STEPS
                extra = c - control[name] if strategy == "SCAFFOLD" else MU * (y - hub)
                y = y - RATE * np.where(FROZEN, 0.0, np.where(LOCAL, gradient, gradient + extra))
            own[name] = y
            share = 1 / len(names) if strategy == "SCAFFOLD" else len(TASKS[name].targets) / total
            update += share * (y - hub)
            changes += mean - control[name]
            control[name] = mean
        hub, c = np.where(TRAVELS, hub + update, hub), c + changes / len(TASKS)
        found.append(hub)
    return found, {name: values[LOCAL].item() for name, values in own.items()}


@pytest.mark.parametrize(
    ("strategy", "numbers"),
    [("SCAFFOLD", {"learning_rate": 1.0}), ("FedProx", {"mu": MU})],
    ids=["SCAFFOLD", "FedProx"],
)
def test_what_travels_is_corrected_and_what_stays_is_trained(tmp_path, strategy, numbers):
    job = Federation(tmp_path, TASKS, strategy, KEPT, **numbers)
    models, local = expected(strategy)
    for names, model in zip(ROUNDS, models, strict=True):
        found = job.go_on(*names)
        np.testing.assert_allclose([found[name].item() for name in NAMES], model, rtol=0, atol=1e-12)
        assert job.payload(names[0]).keys() == {NAMES[1]}
    for name, value in local.items():
        assert job.state(name)[f"fedloom.local.{NAMES[2]}"].item() == pytest.approx(value, abs=1e-12)
    controls = {name for name in job.state("a") if ".control." in name}
    assert controls == ({f"fedloom.control.{NAMES[1]}"} if strategy == "SCAFFOLD" else set())


def test_fragments_are_of_what_travels(tmp_path):
    """DiLoCo keeps moments of what stays, too, and divides what does not."""
    kept = settings(local_steps=STEPS, optimizer={"name": "AdamW", "learning_rate": RATE}, local_parameters=(NAMES[2],))
    tasks = {"a": Layered(1), "b": Layered(2)}
    job = Federation(tmp_path, tasks, "DiLoCo", kept, fragments=2, momentum=0.9, learning_rate=0.7)
    for due in (NAMES[0], NAMES[1], NAMES[0]):
        job.go_on()
        assert job.payload("a").keys() == {due}
    held = {name.split(".", 1)[1] for name in job.state("a")}
    assert held >= {f"fragments.{NAMES[1]}", f"local.{NAMES[2]}", f"optimizer.exp_avg.{NAMES[2]}"}
    assert f"fragments.{NAMES[2]}" not in held
    assert torch.equal(job.now()[NAMES[2]], torch.ones(1, 1, dtype=torch.float64)), "nobody but the sites has theirs"
