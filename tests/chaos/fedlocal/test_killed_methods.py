"""kill -9 of trainers and aggregators of strategies with a part at the sites: what the sites keep survives, nothing counts twice.

Real trainers, over real files: with SCAFFOLD a control that was lost, or changed twice, gives another model.
"""

import os
import signal

import pytest

from tests.chaos.fedlocal.test_kills import RING, ends_as, ranks
from tests.integration.fedlocal.runs import TASK, Lab, hubs, job, site

SGD, ADAMW = {"learningRate": "0.1"}, {"name": "AdamW", "learningRate": "0.05"}
STRATEGIES = {
    "FedProx": ({"name": "FedProx", "fedProx": {"mu": "0.5"}}, {"epochs": 3, "batchSize": 8, "optimizer": SGD}),
    "FedSGD": ({"name": "FedSGD", "fedSGD": {}}, {"batchSize": 8}),
    "SCAFFOLD": ({"name": "SCAFFOLD", "scaffold": {}}, {"localSteps": 6, "batchSize": 8, "optimizer": SGD}),
    "DiLoCo": ({"name": "DiLoCo", "diLoCo": {}}, {"localSteps": 6, "batchSize": 8, "optimizer": ADAMW}),
    "DiLoCo by fragments": (
        {"name": "DiLoCo", "diLoCo": {"fragments": 2}},
        {"localSteps": 6, "batchSize": 8, "optimizer": ADAMW},
    ),
}
ROUNDS = 4


def lab_job(name):
    strategy, training = STRATEGIES[name]
    task = {"entrypoint": "lab:task", "image": "none", "args": {"width": 8}}  # of more layers than one
    return job(rounds=ROUNDS, strategy=strategy, training=training, task=task)


def keeping(name, pool=None, **env):
    """A site whose state outlives its pod."""
    made = site(name, pool, **env)
    made["spec"]["state"] = {"persistentVolumeClaim": {"claimName": f"{name}-state"}}
    return made


@pytest.mark.parametrize("name", STRATEGIES)
def test_killed_trainers_and_aggregators(tmp_path, embedded_digest, name):
    """A trainer in round 2, the aggregator in round 3, both together in round 4."""
    undisturbed = embedded_digest([lab_job(name), keeping("north"), keeping("south")], TASK)
    lab = Lab.of(tmp_path, lab_job(name), keeping("north"), keeping("south", LAB_HOLD="2,3,4"))
    try:
        process = lab.start()
        os.kill(lab.pid_in_round("south", 2), signal.SIGKILL)
        lab.go(2)
        lab.pid_in_round("south", 3)
        os.kill(aggregator(process), signal.SIGKILL)
        lab.go(3)
        trainer = lab.pid_in_round("south", 4)
        os.kill(aggregator(process), signal.SIGKILL)
        os.kill(trainer, signal.SIGKILL)
        lab.go(4)
        ends_as(lab, process, undisturbed)
        assert [client["rounds"] for client in lab.result()["clients"]] == [ROUNDS, ROUNDS]
    finally:
        lab.close()


@pytest.mark.parametrize("name", ["SCAFFOLD", "DiLoCo by fragments"])
def test_ranks_killed_in_mid_round(tmp_path, embedded_digest, name):
    """Rank 0 has the site's state; the others get it from there when they come back."""
    undisturbed = embedded_digest([lab_job(name), keeping("north"), keeping("south", RING)], TASK)
    lab = Lab.of(tmp_path, lab_job(name), keeping("north"), keeping("south", RING, LAB_HOLD="2,3"))
    try:
        process = lab.start()
        for round_, rank in ((2, 1), (3, 0)):
            lab.pid_in_round("south", round_)
            os.kill(ranks(process.pid)[rank], signal.SIGKILL)
            lab.go(round_)
        ends_as(lab, process, undisturbed)
    finally:
        lab.close()


def aggregator(process):
    (pid,) = hubs(process.pid)
    return pid
