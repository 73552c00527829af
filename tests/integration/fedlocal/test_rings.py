"""Sites with several workers on this machine: real launchers and ranks, joined by torch.distributed."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.integration.fedlocal.runs import Lab, job, site

RING = {"workers": 2, "collective": "TorchDistributed", "queueName": "nobody-admits-here"}
SLICE = {"accelerator": "TPU", "tpu": {"type": "tpu-v6e-slice", "topology": "2x2"}}


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """One site of two workers, one whose TPU slice is not here."""
    lab = Lab.of(tmp_path_factory.mktemp("ring"), job(), site("north", RING), site("south", SLICE))
    code, output = lab.run()
    assert code == 0, output
    return lab, output


def tensors(lab):
    (path,) = lab.state.glob("claims/*/models/**/000003-*.safetensors")
    return load_file(path)


def test_two_workers_train_what_one_does(done, ring):
    (alone, _), (lab, _) = done, ring
    one, two = alone.result(), lab.result()
    assert (two["phase"], two["rounds"]) == ("Complete", 3)
    assert two["clients"] == one["clients"]
    assert two["metrics"]["loss"] == pytest.approx(one["metrics"]["loss"], rel=1e-4)
    expected, found = tensors(alone), tensors(lab)
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[name], expected[name], atol=1e-5) for name in expected)


def test_a_worker_has_a_log_of_its_own_and_a_missing_slice_is_told(ring):
    lab, output = ring
    assert {path.name for path in (lab.state / "logs").iterdir()} >= {"north-0.log", "north-1.log", "south.log"}
    assert "StandIn: site south: its pool asks for a TPU slice, but PJRT_DEVICE is not set" in output
