"""What an image lacks is told by name, with the way out."""

import importlib
import sys
from functools import partial

import pytest
import torch

from fedtrainer.errors import CollectiveMissingError, RingBrokenError
from fedtrainer.ring.faults import broken
from fedtrainer.ring.join import join
from fedtrainer.ring.rendezvous import Rendezvous, ring_key
from fedtrainer.ring.slot import Slot
from fedtrainer.ring.torchdist import Work
from tests.contract.fedtrainer.group import HERE, RankGroup, free_port

TWO = {"size": 2, "addresses": (HERE, HERE)}


@pytest.mark.parametrize(
    ("absent", "slot", "message"),
    [
        ("horovod", TWO, "pool.collective is Horovod, but this image has no horovod .*pool.collective to TorchDistr"),
        ("torch_xla", {"accelerator": "TPU"}, "pool.accelerator is TPU, but this image has no torch_xla .*target tpu"),
        (None, TWO | {"backend": "NCCL"}, "pool.backend is NCCL, but .*Auto or Gloo"),
        (
            None,
            TWO | {"backend": "NCCL", "collective": "TorchDistributed"},
            "pool.backend is NCCL, but torch finds no CUDA device here: .*Auto or Gloo",
        ),
        (
            None,
            TWO | {"accelerator": "TPU", "collective": "XLA"},
            "pool.collective is XLA, but the pool has 2 slices, which XLA does not join: use Horovod or",
        ),
        (None, TWO | {"collective": "XLA"}, "pool.collective is XLA, .* but pool.accelerator is CPU: use Horovod or"),
    ],
)
def test_what_is_missing_is_named(monkeypatch, absent, slot, message):
    if absent:
        monkeypatch.setitem(sys.modules, absent, None)  # as if it were not installed
        for name in [n for n in sys.modules if n.startswith(f"{absent}.")] + ["fedtrainer.ring.horovod"]:
            monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("PJRT_DEVICE", "TPU")
    slot = Slot(**slot, store_port=free_port())
    rendezvous = Rendezvous.open(slot, ring_key("token"), patience_s=60) if slot.size > 1 else None
    try:
        with pytest.raises(CollectiveMissingError, match=message):
            join(slot, rendezvous)
    finally:
        if rendezvous:
            rendezvous.close()


def test_a_tpu_pool_on_a_node_without_tpu():
    with RankGroup(1, accelerator="TPU", collective="XLA", env={"PJRT_DEVICE": "TPU"}) as group:
        (answer,) = group.started()
        assert answer["error"] == "CollectiveMissingError"
        assert (
            "pool.accelerator is TPU, but XLA finds none here (PJRT_DEVICE is TPU): check pool.tpu" in answer["message"]
        )
        assert group.ranks[0].exit_code() == 15


@pytest.mark.parametrize("backend", ["Auto", "NCCL"])
@pytest.mark.parametrize(("library", "name"), [("torchdist", "TorchRing"), ("horovod", "HorovodRing")])
def test_ranks_that_share_a_gpu_are_no_case_for_nccl(monkeypatch, library, name, backend):
    module = importlib.import_module(f"fedtrainer.ring.{library}")
    monkeypatch.setenv("NCCL_DEBUG", "WARN")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    if library == "horovod":
        monkeypatch.setattr(module.hvd, "nccl_built", lambda: 1)
    slot = Slot(size=4, local_size=2, addresses=(HERE, HERE), accelerator="GPU", backend=backend)
    with pytest.raises(CollectiveMissingError, match=r"2 ranks of this worker see 1: .*pool.slotsPerWorker to 1.*Gloo"):
        getattr(module, name)(slot, None, "cuda:0")


def test_what_nccl_does_not_answer_is_waited_for_no_longer_than_the_timeout():
    class Silent:
        def is_completed(self):
            return False

    with pytest.raises(RingBrokenError, match=r"all_reduce failed: no answer within 0.01 s"):
        Work(Silent(), 0.01, partial(broken, Slot(), "all_reduce")).wait()
