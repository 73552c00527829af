"""task.initialModel in the embedded runner: the processes of the init pod, over a file of this machine and one of a server."""

import hashlib
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedstore.opening import open_store
from tests.integration.fedlocal.runs import SITES, Lab, job

STATE = {"weight": torch.tensor([[1.0, 2.0, 3.0, 4.0]]), "bias": torch.tensor([5.0])}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lab_with(tmp_path, path, *documents, **given):
    task = {"entrypoint": "lab:task", "image": "none"}
    model = {"uri": str(path), "sha256": sha256(path)} | given
    return Lab.of(tmp_path / "lab", job(rounds=1, task=task | {"initialModel": model}), *SITES, *documents)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "first.pt"


@pytest.mark.parametrize("write", [torch.save, save_file])
def test_round_0_is_the_file_and_training_goes_on_from_it(tmp_path, path, write):
    write(STATE, path)
    lab = lab_with(tmp_path, path)
    code, output = lab.run()
    assert code == 0, output
    (first,) = lab.state.glob("claims/*/models/**/000000-*.safetensors")
    found = load_file(first)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)
    (last,) = lab.state.glob("claims/*/models/**/000001-*.safetensors")
    assert not torch.equal(load_file(last)["weight"], STATE["weight"])


def test_a_file_in_a_bucket_is_fetched_with_the_secret_of_the_manifests(tmp_path, path, seaweedfs):
    torch.save(STATE, path)
    place, files = seaweedfs.place(), seaweedfs.credentials(tmp_path / "credentials")
    open_store(place, files).put_once("first.pt", path.read_bytes())
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "fedloom-store-models"},
        "stringData": {each.name: each.read_text() for each in files.iterdir()},
    }
    where, _, query = place.partition("?")
    given = {"uri": f"{where}/first.pt?{query}", "credentialsSecretRef": {"name": "fedloom-store-models"}}
    lab = lab_with(tmp_path, path, secret, **given)
    code, output = lab.run()
    assert code == 0, output
    (first,) = lab.state.glob("claims/*/models/**/000000-*.safetensors")
    assert torch.equal(load_file(first)["weight"], STATE["weight"])


class Runs:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def wrong_digest(path, ran):
    torch.save(STATE, path)
    return {"sha256": "0" * 64}


def code_in_it(path, ran):
    path.write_bytes(pickle.dumps(Runs(ran)))
    return {}


def lacks_a_tensor(path, ran):
    torch.save({"weight": STATE["weight"]}, path)
    return {}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (wrong_digest, "task.initialModel.sha256: first.pt has SHA-256"),
        (code_in_it, "cannot be read as weights alone"),
        (lacks_a_tensor, "the file does not fit the task's model: it lacks 'bias'"),
    ],
)
def test_a_file_that_does_not_do_fails_the_job_in_words(tmp_path, path, make, told):
    ran = tmp_path / "ran"
    given = make(path, ran)
    code, output = lab_with(tmp_path, path, **given).run()
    assert (code, told in output) == (1, True), output
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"uri": "http://host/model.pt"}, "spec.task.initialModel.uri"),
        ({"uri": "model.pt"}, "spec.task.initialModel.uri"),
        ({"sha256": "ABC"}, "spec.task.initialModel.sha256"),
        (
            {"uri": "s3://bucket/first.pt", "credentialsSecretRef": {"name": "fedloom-store-none"}},
            "spec.task.initialModel.credentialsSecretRef.name: is 'fedloom-store-none', and no Secret of that name",
        ),
    ],
)
def test_what_is_no_place_or_digest_is_refused_before_anything_starts(tmp_path, path, change, told):
    torch.save(STATE, path)
    code, output = lab_with(tmp_path, path, **change).run()
    assert (code, told in output) == (2, True), output
