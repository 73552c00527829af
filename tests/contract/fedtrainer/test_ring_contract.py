"""The port's contract, one suite for all adapters, among real processes."""

import os
import signal

import pytest

from tests.contract.fedtrainer.group import RankGroup

CPU_CHIPS = {"PJRT_DEVICE": "CPU", "CPU_NUM_DEVICES": "4"}
RINGS = {
    "single": {"size": 1},
    "torch-2": {"size": 2, "collective": "TorchDistributed"},
    "torch-3": {"size": 3, "collective": "TorchDistributed"},
    "horovod-2": {"size": 2, "collective": "Horovod"},
    "horovod-8": {"size": 8, "workers": 2, "collective": "Horovod"},
    "xla-slice": {"size": 1, "accelerator": "TPU", "collective": "XLA", "env": CPU_CHIPS},
    "xla-horovod-2": {"size": 2, "accelerator": "TPU", "collective": "Horovod", "env": CPU_CHIPS},
}
TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-6, "float64": 1e-14}
PEERS_WITHIN_S = 8.0  # how long a silent peer is waited for: more than any peer needs that is there
WHOLE = ["uint8", "int32", "int64"]


@pytest.fixture(scope="module", params=RINGS)
def group(request):
    with RankGroup(timeout_s=60.0, **RINGS[request.param]) as made:
        assert made.started() == [{"result": "ready"}] * len(made.ranks)
        yield made
        for rank in made.ranks:  # all together, as at the end of a site
            rank.pipe.close()
        assert [rank.exit_code() for rank in made.ranks] == [0] * len(made.ranks)


def test_a_sum_is_exact_on_integers_and_close_on_reals(group):
    largest = 1 << (24 if len(group.ranks) == 2 else 20)
    for size in (1, 2, 1023, 65_537, largest):
        kinds = [*WHOLE, *TOLERANCE] if size < largest else ["float32", "int32"]
        for dtype in kinds:
            worst = max(group.results("sums", dtype, size))
            assert worst <= TOLERANCE.get(dtype, 0), (dtype, size, worst)


def test_operations_begun_together_all_end(group):
    assert all(group.results("asynchronous"))


def test_any_shape_is_summed(group):
    assert all(group.results("shapes"))


def test_everybody_gets_the_values_of_rank_0(group):
    for dtype in [*WHOLE, *TOLERANCE, "bool", "int8", "int16"]:
        assert all(group.results("broadcast", dtype)), dtype


def test_nobody_leaves_a_barrier_before_all_have_come(group):
    came, left = zip(*group.results("barrier"), strict=True)
    assert max(came) <= min(left)


def test_numbers_texts_and_named_tensors(group):
    size = len(group.ranks)
    each = ["nan" if rank == 1 else repr(rank + 0.5) for rank in range(size)]
    want = [[size, size * (size - 1) / 2], each, "Grüße", "", [[True], [0] * 3, [0] * 4, [0], []]]
    assert group.results("numbers") == [want] * size


def test_shares_of_a_batch_train_as_the_whole_batch_does(group):
    for found in group.results("train", 3):
        assert found["apart"].pop("shift") < 1e-2  # a bfloat16 parameter
        assert max(found["apart"].values()) < 1e-5, found
        assert found["flags"] == [(1 << len(group.ranks)) - 1] * 3
        assert found["unused"]


def test_gradients_that_ranks_cannot_average_are_the_tasks_fault(group):
    if group.on_chips or len(group.ranks) == 1:  # XLA reads gradients when backward is over; one rank averages nothing
        assert {*group.results("sparse"), *group.results("twice")} == {""}
        return
    sparse = "the gradient of weight is sparse, which ranks cannot average: make the embedding with sparse=False"
    assert group.results("sparse") == [sparse] * len(group.ranks)
    for message in group.results("twice"):
        assert "call backward once per step, and use checkpoint(..., use_reentrant=False)" in message


@pytest.mark.parametrize(
    ("collective", "size", "fault", "victim"),
    [
        ("TorchDistributed", 3, "killed", 0),
        ("TorchDistributed", 2, "stopped", 1),
        ("Horovod", 2, "killed", 1),
        ("Horovod", 3, "stopped", 0),
        ("Horovod", 2, "busy elsewhere", 0),
    ],
)
def test_a_peer_that_is_gone_or_silent_breaks_the_ring(collective, size, fault, victim):
    with RankGroup(size, collective=collective, timeout_s=PEERS_WITHIN_S) as group:
        group.started()
        survivors = [rank for rank in range(size) if rank != victim]
        match fault:
            case "killed":
                os.kill(group.ranks[victim].process.pid, signal.SIGKILL)
            case "stopped":
                os.kill(group.ranks[victim].process.pid, signal.SIGSTOP)
            case _:
                group.ranks[victim].say("sit")
        hears = survivors[1] if len(survivors) > 1 else None
        if hears is not None:
            group.ranks[hears].say("hear")
        others = [rank for rank in survivors if rank != hears]
        answers = group.answers("sums", "float32", 100_000, ranks=others)
        answers += [group.ranks[hears].answer()] if hears is not None else []
        for rank, answer in zip([*others, *survivors[len(others) :]], answers, strict=True):
            assert answer["error"] == "RingBrokenError", answer
            assert f"rank {rank} of {size} (127.0.0.1), generation 0: " in answer["message"]
            assert "\n" not in answer["message"]
        assert [group.ranks[rank].exit_code() for rank in survivors] == [31] * len(survivors)


def test_a_peer_that_goes_while_horovod_starts_breaks_the_ring_too():
    """Horovod itself aborts the process then, which would be counted as the rank's own fault."""
    with RankGroup(2, collective="Horovod", timeout_s=PEERS_WITHIN_S, env={"FEDLOOM_TEST_LEAVES": "1"}) as group:
        assert [rank.exit_code() for rank in group.ranks] == [31, 9]
