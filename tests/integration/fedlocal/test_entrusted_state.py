"""A job whose store and whose sites' state are lost goes on from its backup: sites get back what they had entrusted."""

import pytest

from fedapi import names
from tests.integration.fedlocal.runs import JOB, Lab, job, site

STEERED = """
import torch

import lab


class Steered(lab.Lab):
    def train(self, model, data, settings, ctx):
        drift = ctx.state.get("drift", torch.zeros_like(model.weight))
        with torch.no_grad():
            model.weight.add_(drift, alpha=0.01)
        ctx.state["drift"] = drift + model.weight
        return super().train(model, data, settings, ctx)


def task():
    return Steered()
"""
TASK = {"entrypoint": "steered:task", "image": "none"}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fedloom-state-key-lab"}}


def entrusting(name, key=SECRET["metadata"]["name"]):
    made = site(name)
    made["spec"]["entrustedState"] = {"keySecretRef": {"name": key}}
    return made


@pytest.fixture
def made(tmp_path):
    def make(name, *documents):
        lab = Lab.of(tmp_path / name, *documents)
        (lab.folder / "steered.py").write_text(STEERED)
        return lab

    return make


def run(lab, *options):
    code, output = lab.run(*options)
    assert code == 0, output
    return lab.digest()


def test_sites_get_their_state_back_in_the_job_that_is_restored(made):
    undisturbed = run(made("undisturbed", job(task=TASK, rounds=5), site("north"), site("south")))
    secret = SECRET | {"stringData": {names.FILE_STATE_KEY: "a secret of the site's own, of many words"}}
    sites = entrusting("north"), entrusting("south")
    lost = made("lost", job(task=TASK, backup={"everyRounds": 1}), *sites, secret)
    run(lost)
    (store,) = (lost.state / "claims").glob(f"{JOB}-store-*")
    (archive,) = (lost.state / "claims").glob(f"{JOB}-backup-*")
    held = [path.name for path in store.glob("checkpoints/*/*/north/*")]
    assert [name.split("-")[0] for name in sorted(held)] == ["client_north_round_2", "client_north_round_3"]
    store.rename(store.with_name("gone"))

    source = {"source": {"persistentVolumeClaim": {"claimName": archive.name}}, "backup": f"default/{JOB}"}
    body = job(task=TASK, rounds=5, restoreFrom=source)
    body["metadata"]["name"] = "again"
    again = made("again", body, *sites, secret)
    (again.folder / "state").symlink_to(lost.folder / "state")
    assert run(again, "--fresh") == undisturbed


def test_a_secret_that_no_manifest_holds_is_named_before_anything_starts(made):
    code, output = made("lab", job(task=TASK), entrusting("north", "fedloom-state-key-none")).run()
    assert code == 2
    assert "spec.entrustedState.keySecretRef.name: is 'fedloom-state-key-none', and no Secret" in output
