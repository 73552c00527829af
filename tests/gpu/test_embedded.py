"""`fedloom run` on a GPU: sites with a process, with two that share the GPU, and with shared trainers, against the CPU."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.integration.fedlocal.runs import Lab, job, site

TASK = Path(__file__).parent / "task" / "on_gpu.py"
GPU = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 1}
PAIR = GPU | {"workers": 2}


def trained(folder, *sites, options=(), **env):
    task = {"entrypoint": "on_gpu:task", "image": "none"}
    training = {"batchSize": 32, "epochs": 2, "optimizer": {"learningRate": "0.05", "momentum": "0.9"}}
    lab = Lab.of(folder, job(task=task, training=training), *sites)
    shutil.copy(TASK, lab.folder)
    return lab, *lab.run(*options, **env)


def model(lab):
    (path,) = lab.state.glob("claims/*/models/**/000003-*.safetensors")
    return load_file(path)


def devices(lab):
    return {path.name: path.read_text() for path in (lab.folder / "marks").iterdir()}


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    """The same sites where no GPU is seen."""
    lab, code, output = trained(
        tmp_path_factory.mktemp("cpu"), site("north", GPU), site("south", PAIR), CUDA_VISIBLE_DEVICES=""
    )
    assert code == 0, output
    assert "StandIn: site north: its pool asks for GPUs (1 per worker), torch finds 0 here" in output
    assert set(devices(lab).values()) == {"cpu "}
    return lab


@pytest.mark.parametrize("collective", ["Horovod", "TorchDistributed"])
def test_sites_share_a_gpu_and_train_what_the_cpu_does(tmp_path, gpu, on_cpu, collective):
    sites = site("north", GPU), site("south", PAIR | {"collective": collective})
    lab, code, output = trained(tmp_path / "first", *sites)
    assert code == 0, output
    assert "StandIn" not in output
    assert devices(lab) == dict.fromkeys(["north-0", "south-0", "south-1"], f"cuda:0 {gpu}")
    assert f"on cuda:0, {gpu}" in (lab.state / "logs" / "north.log").read_text()
    expected, found = model(on_cpu), model(lab)
    assert found.keys() == expected.keys()
    for name in expected:
        assert np.allclose(found[name], expected[name], atol=1e-4), name
    again, code, output = trained(tmp_path / "again", *sites)
    assert code == 0, output
    assert again.digest() == lab.digest(), "the same bits on the same GPU"


def test_shared_trainers_use_the_gpu_too(tmp_path, gpu):
    sites = [site(f"site-{number}", GPU) for number in range(5)]
    own, code, output = trained(tmp_path / "own", *sites)
    assert code == 0, output
    shared, code, output = trained(tmp_path / "shared", *sites, options=("--trainers", "shared"))
    assert code == 0, output
    assert set(devices(shared).values()) == {f"cuda:0 {gpu}"}
    assert shared.digest() == own.digest()
