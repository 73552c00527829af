"""Only what trains travels, from `fedloom run` to a restored job: a frozen backbone, a head that is averaged, norms that stay.

The task draws its data so that sites differ in their means alone: what stays at them (FedBN) is told apart from what is averaged.
"""

import json
import signal

import pytest
from safetensors.numpy import load_file

from tests.commands import fedloom
from tests.integration.fedlocal.runs import JOB, Lab, finish, job, site
from tests.waiting import until

MIXED = """
import json
import os
import time

import torch

import lab
from fedtrainer import Data


class Mixed(lab.Lab):
    def model(self):
        model = torch.nn.Sequential()
        model.add_module("backbone", torch.nn.Linear(8, 256))
        model.add_module("norm", torch.nn.BatchNorm1d(256))
        model.add_module("head", torch.nn.Linear(256, 1))
        model.backbone.requires_grad_(False)
        if os.environ.get("LAB_FREEZES") == "less":
            model.backbone.bias.requires_grad_(True)
        return model

    def data(self, site):
        generator = torch.Generator().manual_seed(site.seed % 2**31)
        inputs = torch.randn(48, 8, generator=generator) + (3.0 if site.name == "north" else -3.0)
        targets = inputs.sum(dim=1, keepdim=True)
        return Data((inputs[:32], targets[:32]), (inputs[32:], targets[32:]))

    def train(self, model, data, settings, ctx):
        lab.MARKS.mkdir(exist_ok=True)
        began = lab.MARKS / f"began-{ctx.site.name}-{ctx.site.round}.json"
        began.write_text(json.dumps(model.norm.running_mean.tolist()))
        result = super().train(model, data, settings, ctx)
        left = lab.MARKS / f"left-{ctx.site.name}-{ctx.site.round}.json"
        left.write_text(json.dumps(model.norm.running_mean.tolist()))
        return result


def task():
    return Mixed()
"""
TASK = {"entrypoint": "mixed:task", "image": "none"}
TRAINING = {"optimizer": {"learningRate": "0.001"}}
NORMS = TRAINING | {"localParameters": ["norm.*"]}


def kept(name, **env):
    """A site with a volume for its state."""
    made = site(name, **env)
    made["spec"]["state"] = {"persistentVolumeClaim": {"claimName": f"{name}-state"}}
    return made


SITES = (kept("north"), kept("south"))
HELD = (kept("north", LAB_HOLD="3"), kept("south", LAB_HOLD="3"))
HEAD, BACKBONE = {"head.weight", "head.bias"}, {"backbone.weight", "backbone.bias"}
NORM = {f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}


@pytest.fixture
def made(tmp_path):
    labs = []

    def make(name="lab", *documents, **spec):
        lab = Lab.of(tmp_path / name, job(task=TASK, **spec), *(documents or SITES))
        (lab.folder / "mixed.py").write_text(MIXED)
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close()


def run(lab, *options):
    code, output = lab.run(*options)
    assert code == 0, output
    return output


def store(lab):
    (found,) = (lab.state / "claims").glob(f"{JOB}-store-*")
    return found


def models(lab):
    """What of the model is in the store, by round."""
    return {int(path.name[:6]): load_file(path) for path in store(lab).glob("models/*/*/*.safetensors")}


def mean(lab, what, name, round_):
    return json.loads((lab.folder / "marks" / f"{what}-{name}-{round_}.json").read_text())


def pulled(lab, *options):
    target = lab.folder / "pulled.safetensors"
    lab.fedloom("model", "pull", JOB, "-o", target, *options)
    return load_file(target)


def test_frozen_tensors_are_committed_once_and_norms_stay_at_their_site(made):
    lab = made(training=NORMS)
    run(lab)
    found = models(lab)
    assert found[0].keys() == BACKBONE | NORM | HEAD
    assert {round_: set(tensors) for round_, tensors in found.items() if round_} == dict.fromkeys((1, 2, 3), HEAD)
    for name in ("north", "south"):
        assert mean(lab, "began", name, 1) == found[0]["norm.running_mean"].tolist()
        for round_ in (2, 3):
            assert mean(lab, "began", name, round_) == mean(lab, "left", name, round_ - 1), "its own, to the bit"
    assert mean(lab, "left", "north", 3) != mean(lab, "left", "south", 3)
    whole, alone = pulled(lab), pulled(lab, "--exchanged")
    assert whole.keys() == BACKBONE | NORM | HEAD
    assert alone.keys() == HEAD
    assert all((whole[name] == found[3][name]).all() for name in HEAD)
    assert all((whole[name] == found[0][name]).all() for name in BACKBONE | NORM)
    assert pulled(lab, "--round", "0", "--exchanged").keys() == HEAD
    model = json.loads((lab.state / "job.json").read_text())["status"]["model"]
    assert model["round"] == 3
    assert model["initial"]["uri"].endswith(f"000000-{model['initial']['sha256']}.safetensors")


def test_a_run_that_is_killed_goes_on_with_what_its_sites_had(made):
    undisturbed = made("undisturbed", training=NORMS, rounds=4)
    run(undisturbed)
    lab = made("killed", *HELD, training=NORMS, rounds=4)
    process = lab.start()
    for name in ("north", "south"):
        lab.pid_in_round(name, 3)
    process.send_signal(signal.SIGINT)
    finish(process)
    lab.go(3)
    run(lab)
    assert lab.digest() == undisturbed.digest()
    for name in ("north", "south"):
        assert mean(lab, "began", name, 4) == mean(undisturbed, "began", name, 4)


def test_with_controls_encoded_updates_and_two_ranks(made):
    """All that a site keeps at once: both ranks begin with its own norms, and the hub's controls are of what travels."""
    ring = kept("south")
    ring["spec"]["pool"] = {"workers": 2, "collective": "TorchDistributed"}
    lab = made(
        "lab",
        kept("north"),
        ring,
        training=NORMS | {"localSteps": 4},
        strategy={"name": "SCAFFOLD", "scaffold": {}},
        compression={"codec": "Int8", "errorFeedback": True},
    )
    run(lab)
    assert {round_: set(tensors) for round_, tensors in models(lab).items() if round_} == dict.fromkeys((1, 2, 3), HEAD)
    remembered = [load_file(path).keys() for path in store(lab).glob("hubstate/*/*/*.safetensors")]
    assert remembered == [HEAD] * 3
    for name in ("north", "south"):
        left = {int(path.name.split("-")[1]): load_file(path) for path in lab.state.rglob(f"{name}/state/current-*")}
        assert max(left) == 3
        parts = {entry.split(".")[1] for entry in left[3]}
        assert parts >= {"control", "local"}
        assert mean(lab, "began", name, 3) == left[2]["fedloom.local.norm.running_mean"].tolist(), "of the round before"


def test_patterns_of_both_kinds_with_a_frozen_backbone(made):
    lab = made(training=TRAINING | {"exchange": ["head.w*"], "localParameters": ["norm.*"]})
    run(lab)
    assert models(lab)[3].keys() == {"head.weight"}
    assert (pulled(lab)["head.bias"] == models(lab)[0]["head.bias"]).all(), "what is left out of the exchange is frozen"


def test_a_pattern_that_does_not_do_ends_the_job_and_is_named(made):
    code, output = made(training=TRAINING | {"localParameters": ["nrom.*"]}).run()
    assert code != 0
    assert "training.localParameters: 'nrom.*' matches no tensor" in output, output


def test_a_site_that_freezes_other_parameters_is_told_the_first(made):
    sites = kept("north", LAB_HOLD="1"), kept("south", LAB_FREEZES="less")
    lab = made("lab", *sites, training=TRAINING, rounds=1, round={"quorum": 1, "graceAfterQuorum": "1s"})
    process = lab.start()
    words = "tensor 'backbone.bias' travels at this site, and is frozen by the job's initial model"
    until(lambda: words in process.log.read_text() or process.poll() is not None, why=process.log.read_text)
    lab.go(1)
    code, output = finish(process)
    assert code == 0, output
    assert words in output, output


def test_going_back_to_the_initial_model_and_keeping_few_models(made):
    spec = {"training": TRAINING, "rounds": 4, "storage": {"history": {"keep": 1}}}
    lab = made("lab", *HELD, **spec)
    process = lab.start()
    for name in ("north", "south"):
        lab.pid_in_round(name, 3)
    process.send_signal(signal.SIGINT)
    finish(process)
    lab.go(3)
    back = made("lab", *HELD, **spec, rollbackTo={"round": 0})
    output = run(back)
    assert "round 3 has the model of round 0" in output, output
    found = models(lab)
    assert 0 in found, "every later model is whole over it"
    assert 1 not in found
    assert pulled(lab).keys() == BACKBONE | NORM | HEAD


def test_a_backup_is_proved_and_restored_with_its_frozen_backbone(made):
    lab = made("lab", training=TRAINING, backup={"everyRounds": 1})
    run(lab)
    (archive,) = (lab.state / "claims").glob(f"{JOB}-backup-*")
    given = ("--task", TASK["entrypoint"], "--task-path", lab.folder, "--data", lab.folder)
    proof = fedloom("backup", "verify", archive, *given, "--tolerance", "1000")
    assert "round 3, loss" in proof.stdout
    undisturbed = made("undisturbed", training=TRAINING, rounds=5)
    run(undisturbed)
    store(lab).rename(store(lab).with_name("gone"))
    source = {"source": {"persistentVolumeClaim": {"claimName": archive.name}}, "backup": f"default/{JOB}"}
    again = made("again", training=TRAINING, rounds=5, restoreFrom=source)
    (again.folder / "state").symlink_to(lab.folder / "state")
    run(again, "--fresh")
    assert again.digest() == undisturbed.digest()
