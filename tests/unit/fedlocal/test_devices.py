"""What stands in for devices and libraries that a machine lacks, a pool a row."""

import pytest

from fedapi import names
from fedlocal.devices import Machine, on_one_machine, stand_in
from fedlocal.validation import checked

FULL = Machine(gpus=8, horovod=True, torch_xla=True, cores=64)
LAPTOP = Machine(cores=4)


def ring(accelerator="CPU", workers=1, slots=1, collective="Horovod", **more):
    return {
        names.ENV_ACCELERATOR: accelerator,
        names.ENV_RING_WORKERS: str(workers),
        names.ENV_RING_SLOTS: str(slots),
        names.ENV_COLLECTIVE: collective,
        names.ENV_BACKEND: "Auto",
        **more,
    }


CPU = {names.ENV_ACCELERATOR: "CPU"}
GLOO = {names.ENV_BACKEND: "Gloo"}
TORCH = {names.ENV_COLLECTIVE: "TorchDistributed"}
PRETEND = {"PJRT_DEVICE": "CPU"}


@pytest.mark.parametrize(
    ("env", "machine", "put", "said"),
    [
        ({}, LAPTOP, {}, []),
        (ring(), LAPTOP, {}, []),
        (ring(workers=2), FULL, {}, []),
        (ring(workers=2), LAPTOP, TORCH, ["Horovod is not installed"]),
        (ring(workers=2, collective="TorchDistributed"), LAPTOP, {}, []),
        (ring(workers=4, slots=2, collective="TorchDistributed"), LAPTOP, {}, ["8 ranks, each a process, and there are 4 cores"]),
        (ring("GPU", slots=8), FULL, {}, []),
        (ring("GPU", workers=2, slots=8), FULL, GLOO, []),
        (ring("GPU", slots=1), LAPTOP, CPU | GLOO, ["asks for GPUs (1 per worker), torch finds 0 here"]),
        (ring("GPU", workers=2, slots=2), LAPTOP, CPU | GLOO | TORCH, ["GPUs (2 per worker)", "Horovod is not installed"]),
        (ring("TPU", collective="XLA", **PRETEND), FULL, {}, []),
        (ring("TPU", workers=2, **PRETEND), FULL, {}, []),
        (ring("TPU", collective="XLA"), FULL, CPU | {names.ENV_COLLECTIVE: "Horovod"}, ["PJRT_DEVICE is not set"]),
        (ring("TPU", workers=2, **PRETEND), LAPTOP, CPU | TORCH, ["torch_xla is not installed", "Horovod is not installed"]),
    ],
)  # fmt: skip
def test_what_a_machine_lacks_is_replaced_and_said(env, machine, put, said):
    found = stand_in(env, machine)
    assert dict(found.env) == put
    assert len(found.notes) == len(said), found.notes
    assert all(words in note for words, note in zip(said, found.notes, strict=True)), found.notes


V5E = {"type": "tpu-v5-lite-podslice", "topology": "4x4"}


@pytest.mark.parametrize(
    ("pool", "here"),
    [
        ({"accelerator": "CPU", "workers": 3}, None),
        ({"accelerator": "TPU", "workers": 2, "tpu": {**V5E, "topology": "2x2"}}, None),
        ({"accelerator": "TPU", "tpu": V5E, "collective": "XLA", "queueName": "q"}, {"accelerator": "CPU", "workers": 4, "queueName": "q"}),
        ({"accelerator": "TPU", "tpu": V5E, "workers": 8, "count": 4, "collective": "TorchDistributed"}, {"accelerator": "CPU", "workers": 8, "collective": "TorchDistributed"}),
    ],
)  # fmt: skip
def test_slices_of_several_hosts_become_as_many_workers(pool, here):
    spec = {"provider": "GCP", "pool": pool}
    assert on_one_machine(spec) == {**spec, "pool": here or pool}
    body = {"apiVersion": names.API_VERSION, "kind": names.CLIENT_KIND, "metadata": {"name": "a"}}
    assert checked({**body, "spec": on_one_machine(spec)})[1] == []
