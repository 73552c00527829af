"""Sites of unlike width in `fedloom run`: the model of a round is numpy's mean over the sites that have a number, killed or not.

The task leaves what each training ended with, which a test takes the mean of.
"""

import json
import os
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.integration.fedlocal.runs import JOB, Lab, finish, hubs, job, site

SLIM = """
import torch
from safetensors.torch import save_file

import lab


class Slim(lab.Lab):
    def model(self, width=1.0):
        hidden = round(300 * width)
        return torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1))

    def train(self, model, data, settings, ctx):
        result = super().train(model, data, settings, ctx)
        save_file(model.state_dict(), lab.MARKS / f"left-{ctx.site.name}-{ctx.site.round}.safetensors")
        return result


def task():
    return Slim()
"""
WIDTHS = {"tiny": 0.25, "small": 0.5, "large": 1.0}
OVERRIDES = [{"selector": {"matchLabels": {"size": size}}, "modelWidth": str(width)} for size, width in WIDTHS.items()]
SPEC = {
    "task": {"entrypoint": "slim:task", "image": "none"},
    "training": {"optimizer": {"learningRate": "0.01"}, "localSteps": 5, "batchSize": 8},
    "clients": {"overrides": OVERRIDES},
}


def sized(name, size, **env):
    made = site(name, **env)
    made["metadata"]["labels"] = {"size": size}
    made["spec"]["state"] = {"persistentVolumeClaim": {"claimName": f"{name}-state"}}
    return made


def sites(**env):
    return [sized("east", "large", **env), sized("north", "small", **env), sized("south", "tiny", **env)]


@pytest.fixture
def made(tmp_path):
    labs = []

    def make(name, *documents, **spec):
        lab = Lab.of(tmp_path / name, job(**SPEC | spec), *(documents or sites()))
        (lab.folder / "slim.py").write_text(SLIM)
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close()


def run(lab):
    code, output = lab.run()
    assert code == 0, output
    return output


def models(lab):
    (store,) = (lab.state / "claims").glob(f"{JOB}-store-*")
    return {int(path.name[:6]): load_file(path) for path in store.glob("models/*/*/*.safetensors")}


def overlap(base, left, *, padded=False):
    """The mean of what sites of equally many samples ended with, over those that have a number; or over all."""
    found = {}
    for name, whole in base.items():
        total, count = np.zeros(whole.shape), np.zeros(whole.shape)
        for values in left:
            where = tuple(map(slice, values[name].shape))
            total[where] += values[name]
            count[where] += 1
        mean = total / len(left) if padded else np.divide(total, count, out=np.zeros(whole.shape), where=count > 0)
        found[name] = np.where(count > 0, mean, whole)
    return found


def check_rounds(lab, names, *, padded=False, rounds=3, atol=1e-6):
    committed = models(lab)
    for round_ in range(1, rounds + 1):
        left = [load_file(lab.folder / "marks" / f"left-{name}-{round_}.safetensors") for name in names]
        expected = overlap(committed[round_ - 1], left, padded=padded)
        for name, values in committed[round_].items():
            assert np.allclose(values, expected[name], rtol=1e-5, atol=atol), (round_, name)
    return committed


def test_each_number_is_the_mean_of_the_sites_that_have_it(made):
    lab = made("lab")
    run(lab)
    committed = check_rounds(lab, ("east", "north", "south"))
    assert load_file(lab.folder / "marks" / "left-south-1.safetensors")["0.weight"].shape == (75, 4)
    assert committed[3]["0.weight"].shape == (300, 4)
    plans = [json.loads(path.read_text()) for path in lab.state.glob("claims/*/control/**/plan.json")]
    assert [(each["clients"], each.get("model_width")) for each in plans[0]["overrides"]] == [
        (["south"], 0.25), (["north"], 0.5), (["east"], None),
    ]  # fmt: skip
    target = lab.folder / "pulled.safetensors"
    lab.fedloom("model", "pull", JOB, "-o", target)
    assert all((load_file(target)[name] == values).all() for name, values in committed[3].items())


def test_what_no_site_of_the_job_has_stays_as_it_was_initialized(made):
    lab = made("lab", *sites()[1:], strategy={"name": "FedAdam", "fedAdam": {}})
    run(lab)
    committed = models(lab)
    assert (committed[3]["0.weight"][150:] == committed[0]["0.weight"][150:]).all()
    assert (committed[3]["0.weight"][:150] != committed[0]["0.weight"][:150]).any()


def test_zero_padding_of_encoded_updates(made):
    lab = made("lab", strategy={"subModels": "ZeroPadding"}, compression={"codec": "Int8"}, rounds=2)
    run(lab)
    check_rounds(lab, ("east", "north", "south"), padded=True, rounds=2, atol=2e-3)


def test_a_run_whose_processes_are_killed_makes_the_same_model(made):
    spec = {"rounds": 4, "compression": {"codec": "TopK", "topK": {"fraction": "0.25"}}}
    undisturbed = made("undisturbed", **spec)
    run(undisturbed)
    lab = made("killed", *sites(LAB_HOLD="2,3"), **spec)
    process = lab.start()
    os.kill(lab.pid_in_round("south", 2), signal.SIGKILL)
    lab.go(2)
    lab.pid_in_round("north", 3)
    (aggregator,) = hubs(process.pid)
    os.kill(aggregator, signal.SIGKILL)
    lab.go(3)
    code, output = finish(process)
    assert code == 0, output
    assert lab.digest() == undisturbed.digest()
