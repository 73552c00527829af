"""The rings' contract with tensors and models on a GPU: NCCL and gloo, by Horovod and torch.distributed.

NCCL takes one rank per GPU of a host. NCCL_HOSTID has it take each rank for a host of its own, so that ranks on one GPU
are joined over sockets, as GPUs of several machines are.
"""

import os
import signal

import pytest

from tests.contract.fedtrainer.group import RankGroup
from tests.contract.fedtrainer.test_ring_contract import (  # noqa: F401 - the suite, with the rings of this file
    PEERS_WITHIN_S,
    test_a_sum_is_exact_on_integers_and_close_on_reals,
    test_any_shape_is_summed,
    test_everybody_gets_the_values_of_rank_0,
    test_gradients_that_ranks_cannot_average_are_the_tasks_fault,
    test_nobody_leaves_a_barrier_before_all_have_come,
    test_numbers_texts_and_named_tensors,
    test_operations_begun_together_all_end,
    test_shares_of_a_batch_train_as_the_whole_batch_does,
)

HOSTS = {
    "NCCL_HOSTID": "rank-{rank}",
    "NCCL_SOCKET_IFNAME": "lo",
    "NCCL_IB_DISABLE": "1",
    "NCCL_NVLS_ENABLE": "0",
    "NCCL_MNNVL_ENABLE": "0",
}
NCCL = {"accelerator": "GPU", "backend": "NCCL", "env": HOSTS}
RINGS = {
    "single": {"size": 1, "accelerator": "GPU"},
    "torch-nccl-2": {"size": 2, "collective": "TorchDistributed", **NCCL},
    "torch-nccl-3": {"size": 3, "collective": "TorchDistributed", **NCCL},
    "torch-gloo-2": {"size": 2, "collective": "TorchDistributed", "accelerator": "GPU", "backend": "Gloo"},
    "horovod-nccl-2": {"size": 2, "collective": "Horovod", **NCCL},
    "horovod-nccl-3": {"size": 3, "collective": "Horovod", **NCCL},
    "horovod-gloo-2": {"size": 2, "collective": "Horovod", "accelerator": "GPU", "backend": "Gloo"},
}


@pytest.fixture(scope="module", params=RINGS)
def group(request):
    with RankGroup(timeout_s=60.0, **RINGS[request.param]) as made:
        assert made.started() == [{"result": "ready"}] * len(made.ranks)
        yield made
        for rank in made.ranks:
            rank.pipe.close()
        assert [rank.exit_code() for rank in made.ranks] == [0] * len(made.ranks)


def test_every_rank_is_on_the_gpu(group):
    assert group.results("device") == ["cuda:0"] * len(group.ranks)


@pytest.mark.parametrize("collective", ["TorchDistributed", "Horovod"])
@pytest.mark.parametrize("fault", ["killed", "busy elsewhere"])
def test_a_peer_that_is_gone_or_silent_breaks_the_ring(collective, fault):
    with RankGroup(2, collective=collective, timeout_s=PEERS_WITHIN_S, **NCCL) as group:
        assert group.started() == [{"result": "ready"}] * 2
        group.results("sums", "float32", 100_000)
        if fault == "killed":
            os.kill(group.ranks[1].process.pid, signal.SIGKILL)
        else:
            group.ranks[1].say("sit")
        (answer,) = group.answers("sums", "float32", 100_000, ranks=[0])
        assert "error" in answer
        assert group.ranks[0].exit_code() == 31, answer


@pytest.mark.parametrize("collective", ["TorchDistributed", "Horovod"])
@pytest.mark.parametrize("backend", ["Auto", "NCCL"])
def test_two_ranks_of_a_worker_on_one_gpu_are_told_what_to_change(collective, backend):
    with RankGroup(2, workers=1, collective=collective, accelerator="GPU", backend=backend, timeout_s=30.0) as group:
        for answer in group.started():
            assert answer["error"] == "CollectiveMissingError", answer
            assert "pool.backend Gloo" in answer["message"]


@pytest.mark.parametrize(
    ("collective", "words"), [("TorchDistributed", "Duplicate GPU detected"), ("Horovod", "invalid usage")]
)
def test_what_nccl_refuses_is_told_in_its_words(collective, words):
    with RankGroup(2, collective=collective, **NCCL | {"env": None}, timeout_s=30.0) as group:
        group.started()
        for answer in group.answers("sums", "float32", 100):
            assert answer["error"] == "RingBrokenError", answer
            assert words in answer["message"]
        assert [rank.exit_code() for rank in group.ranks] == [31, 31]
