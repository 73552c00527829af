"""Training over the ranks of a ring: as one process would, and as one when something goes wrong."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer import termination
from fedtrainer.errors import Terminated
from fedtrainer.ring.join import join
from fedtrainer.ring.slot import Slot
from fedtrainer.training.session import Session, Spec
from fedtrainer.training.tensors import read, write
from tests.unit.fedtrainer.training.ring_ranks import Script, alone, site

TORCH = Slot(size=2, collective="TorchDistributed")
HOROVOD = Slot(size=2, collective="Horovod")
SLICES = Slot(size=2, collective="TorchDistributed", accelerator="TPU")
XLA_ON_CPU = {"PJRT_DEVICE": "CPU", "CPU_NUM_DEVICES": "4"}


def settings(**changes) -> TrainingSettings:
    optimizer = {"learning_rate": 0.1, **changes.pop("optimizer", {})}
    return TrainingSettings(**{"batch_size": 8, "epochs": 2, "optimizer": optimizer, **changes})


def distance(one, other) -> float:
    assert one.model.keys() == other.model.keys()
    pairs = [[np.nan_to_num(side.model[name].astype(float)) for side in (one, other)] for name in one.model]
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)


# What ranks do, and what one process does that must come to the same.
SAME = [
    ({}, {}),
    ({"batch_size": 7}, {"batch_size": 7}),
    ({"batch_size": 1, "epochs": 1}, {"batch_size": 1, "epochs": 1}),
    ({"optimizer": {"momentum": 0.9, "weight_decay": 0.01}}, {"optimizer": {"momentum": 0.9, "weight_decay": 0.01}}),
    ({"optimizer": {"name": "Adam", "learning_rate": 0.01}}, {"optimizer": {"name": "Adam", "learning_rate": 0.01}}),
    ({"batch_size": 4, "batch_per": "Rank"}, {"batch_size": 8}),
    (
        {"batch_size": 4, "batch_per": "Rank", "learning_rate_scaling": "Linear"},
        {"batch_size": 8, "optimizer": {"learning_rate": 0.2}},
    ),
    ({"gradient_accumulation_steps": 3}, {}),
    ({"epochs": None, "local_steps": 5, "warmup_steps": 40}, {"epochs": None, "local_steps": 5, "warmup_steps": 40}),
]


@pytest.mark.parametrize(
    ("slot", "env", "cases"),
    [
        pytest.param(TORCH, {}, SAME, id="torch"),
        pytest.param(HOROVOD, {}, SAME, id="horovod"),
        pytest.param(SLICES, XLA_ON_CPU, SAME[3:4], id="two-xla-slices"),  # it compiles long
    ],
)
def test_ranks_over_shares_equal_one_process_over_whole_batches(tmp_path, slot, env, cases):
    whole = alone(Script(tmp_path / "one", "Cnn", tuple(settings(**one) for _, one in cases)))
    ranks = site(Script(tmp_path / "two", "Cnn", tuple(settings(**two) for two, _ in cases), env=env), slot)
    assert all(not outcome.error for found in ranks for outcome in found), [f[-1].message for f in ranks]
    for case, expected, *found in zip(cases, whole, *ranks, strict=True):
        assert distance(*found) == 0, (case, "ranks end alike")
        assert distance(expected, found[0]) < 1e-5, case
        for rank in found:
            assert rank.samples == 26, "the site's samples, once"
            assert rank.evaluation == pytest.approx(expected.evaluation, rel=1e-6)
            assert rank.metrics == pytest.approx(expected.metrics, abs=1e-5)


METHODS = [
    {"proximal": 0.5},
    {"full_gradient": True},
    {"control_variates": 3},
    {"keep_optimizer": True},
    {"control_variates": 3, "proximal": 0.5},
]


@pytest.mark.parametrize("kind", ["Cnn", "OwnCorrected"])
def test_ranks_do_for_a_strategy_what_one_process_does(tmp_path, kind):
    orders = tuple(settings(method=method, epochs=1 if "full_gradient" in method else 2) for method in METHODS)
    model = read(Script(tmp_path, "Cnn", ()).model())
    rows = {
        name: torch.randn(tensor.numel(), 1, generator=torch.Generator().manual_seed(1))
        for name, tensor in model.items()
    }
    write(tmp_path / "hub", rows)
    script = Script(tmp_path / "one", kind, orders, hub_state=tmp_path / "hub")
    whole, ranks = alone(script), site(replace(script, folder=tmp_path / "two"), TORCH)
    assert all(not outcome.error for found in ranks for outcome in found), [f[-1].message for f in ranks]
    for method, expected, first, second in zip(METHODS, whole, *ranks, strict=True):
        assert distance(first, second) == 0, (method, "ranks end alike")
        assert (
            expected.sent.keys()
            == first.sent.keys()
            == ({"update", "control"} if "control_variates" in method else {"update"})
        )
        for payload, values in expected.sent.items():
            for name, sent in values.items():
                assert np.abs(first.sent[payload][name] - sent).max() < 1e-5, (method, payload, name)
                assert np.abs(sent).max() > 1e-4, (method, payload, name)


def test_ranks_that_forget_each_other_give_unlike_gradients_and_are_told(tmp_path):
    (first, _) = site(Script(tmp_path, "OwnAlone", (settings(method={"full_gradient": True}, epochs=1),)), TORCH)
    assert (first[0].error, "ctx.parallel" in first[0].message) == ("TaskInvalidError", True)


def test_gradient_accumulation_equals_a_whole_batch(tmp_path):
    (one,) = alone(Script(tmp_path / "one", "Cnn", (settings(),)))
    (four,) = alone(Script(tmp_path / "four", "Cnn", (settings(gradient_accumulation_steps=4),)))
    assert distance(one, four) < 1e-6


def test_a_site_with_fewer_samples_than_ranks(tmp_path):
    args = {"samples": 3}
    (whole,) = alone(Script(tmp_path / "one", "Cnn", (settings(),), args))
    ranks = site(Script(tmp_path / "four", "Cnn", (settings(),), args), Slot(size=4, collective="TorchDistributed"))
    assert [found[0].error for found in ranks] == [""] * 4
    assert all(distance(whole, found[0]) < 1e-5 for found in ranks)


def test_batch_norm_ends_alike_at_all_ranks(tmp_path):
    first, second = site(Script(tmp_path, "Norm", (settings(), settings(batch_size=7, epochs=1))), TORCH)
    for one, other in zip(first, second, strict=True):
        assert distance(one, other) == 0
        assert np.abs(one.model["2.running_mean"]).max() > 0


def test_batch_norm_gets_two_samples_and_each_rank_may_have_metrics_of_its_own(tmp_path):
    orders = (settings(batch_size=4), settings(batch_size=2), settings(batch_size=3, gradient_accumulation_steps=2))
    ranks = site(Script(tmp_path, "Masked", orders, {"samples": 9}), TORCH)
    assert [outcome.message for found in ranks for outcome in found] == [""] * 6
    for one, other in zip(*ranks, strict=True):
        assert distance(one, other) == 0
        assert one.model["mask"].tobytes() == np.array([0, -np.inf, np.nan], np.float32).tobytes()
        assert one.evaluation == other.evaluation
        assert {n: v for n, v in one.evaluation.items() if n != "loss"} == {
            "accuracy": 0.5,
            "of_rank_0": 1,
            "of_rank_1": 1,
        }


@pytest.mark.parametrize("half", ["BFloat16", "Float16"])
def test_mixed_precision_is_near_single_precision(tmp_path, half):
    order = (settings(epochs=1, mixed_precision=half),)
    (full,) = alone(Script(tmp_path / "full", "Cnn", (settings(epochs=1),)))
    (mixed,) = alone(Script(tmp_path / "mixed", "Cnn", order))
    (first,), (second,) = site(Script(tmp_path / "two", "Cnn", order), TORCH)
    assert 0 < distance(full, mixed) < 0.1, "Float16 may leave out its first steps, until the loss's scale fits"
    assert 0 < distance(full, first) < 0.1
    assert distance(first, second) == 0


def test_float16_is_not_for_tpus(tmp_path):
    ranks = site(
        Script(tmp_path, "Cnn", (settings(mixed_precision="Float16"),), env=XLA_ON_CPU),
        Slot(size=1, accelerator="TPU", collective="XLA"),
    )
    assert [(found[-1].error, "use BFloat16" in found[-1].message) for found in ranks] == [("BadSettingsError", True)]


@pytest.fixture
def handlers():
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    termination.install()
    yield
    termination.install()  # forgets what has arrived
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_update_that_is_written_is_kept_when_the_pod_goes_before_it_is_evaluated(tmp_path, handlers):
    script, kept = Script(tmp_path, "Cnn", (settings(),)), []
    session = Session(
        Spec(script.entrypoint, script.task_args(), 7, 1, "site-a", tmp_path / "data"), join(Slot(), None)
    )
    session.load(script.model())

    def keep(trained) -> None:
        kept.append(trained)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        session.train(session.data(1), 1, settings(), tmp_path / "order", lambda: False, keep)
    assert [(trained.samples, list(trained.metrics)) for trained in kept] == [(26, ["train_loss"])]
    assert (tmp_path / "order" / "update.safetensors").stat().st_size == kept[0].file.size


def test_a_rank_whose_loss_is_no_number_is_named_and_the_next_round_is_trained(tmp_path):
    ranks = site(Script(tmp_path, "NotANumber", (settings(), settings())), TORCH)
    for found in ranks:
        assert [outcome.error for outcome in found] == ["DivergedError", ""]
        assert "epoch 1, step 2 at rank 1 (worker 1)" in found[0].message
        assert "rank 0" not in found[0].message
    assert distance(ranks[0][1], ranks[1][1]) == 0


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("FewerSamples", "DataDiffersError", "25 training samples at rank 1 (worker 1), but 26 at rank 0 (worker 0)"),
        ("OtherSamples", "DataDiffersError", "other samples at rank 1 (worker 1) than at rank 0 (worker 0)"),
        (
            "OtherModel",
            "TaskInvalidError",
            "at rank 1 (worker 1) than at rank 0 (worker 0): all workers of a site need",
        ),
        ("Alone", "TaskInvalidError", "train() must use ctx.parallel"),
    ],
)
def test_ranks_that_differ_are_named_at_every_rank(tmp_path, kind, error, words):
    for found in site(Script(tmp_path, kind, (settings(),)), TORCH):
        assert found[-1].error == error, found[-1].message
        assert words in found[-1].message


def test_a_loop_of_ones_own_with_ctx_parallel(tmp_path):
    whole = alone(Script(tmp_path / "one", "Cnn", (settings(batch_size=7),)))
    ranks = site(Script(tmp_path / "two", "Own", (settings(batch_size=7),)), TORCH)
    assert [found[0].error for found in ranks] == ["", ""]
    assert all(distance(whole[0], found[0]) < 1e-5 for found in ranks)


@pytest.mark.parametrize("kind", ["Cnn", "Own"])
def test_dropped_work_ends_at_all_ranks(tmp_path, kind):
    ranks = site(Script(tmp_path, kind, (settings(),), drop_after=3), TORCH)
    assert [found[0].error for found in ranks] == ["DroppedError", "DroppedError"]


@pytest.mark.parametrize("leaves", [0, 1])
def test_a_rank_that_must_go_leaves_a_checkpoint_and_the_training_goes_on_with_the_same_bits(tmp_path, leaves):
    order = settings(optimizer={"name": "Adam", "learning_rate": 0.01}, checkpoint_every_s=1000.0)
    whole = site(Script(tmp_path / "whole", "Reclaimed", (order,)), TORCH)
    script = Script(tmp_path / "broken", "Reclaimed", (order,))
    gone = site(Script(script.folder, script.kind, script.orders, env={"RING_TEST_LEAVES": str(leaves)}), TORCH)
    assert [found[-1].error for found in gone] == [("Terminated" if r == leaves else "RingBrokenError") for r in (0, 1)]
    assert (script.folder / "round-1" / "checkpoint.safetensors").exists()
    again = site(script, TORCH)
    assert distance(again[0][0], whole[0][0]) == 0
    assert again[0][0].metrics["train_loss"] == pytest.approx(whole[0][0].metrics["train_loss"])


def test_ranks_train_the_sub_model_of_each_order_with_its_part_of_the_frozen_backbone(tmp_path):
    """Also after orders of another width, as of a process that serves several sites."""
    orders = tuple(settings(model_width=width) for width in (0.5, 0.5, None, 0.5))
    script = Script(tmp_path / "ring", "Backboned", orders, partial=True, widths=(0.5,))
    one = alone(replace(script, folder=tmp_path / "alone"))
    assert [each.sent["update"]["3.weight"].shape for each in one] == [(3, 250), (3, 250), (3, 500), (3, 250)]
    for outcomes in site(script, TORCH):
        assert [each.error for each in outcomes] == [""] * 4
        assert [each.model["1.weight"].shape for each in outcomes] == [(250, 36), (250, 36), (500, 36), (250, 36)]
        assert max(map(distance, outcomes, one)) < 1e-5


def test_a_frozen_backbone_goes_to_the_other_ranks_once(tmp_path):
    """They are in step with rank 0, so all of them still have it, and train with it: the same model as one rank alone makes."""
    script = Script(tmp_path / "ring", "Backboned", (settings(),) * 3, partial=True)
    whole = sum(tensor.nbytes for tensor in read(script.model()).values())
    ranks = site(script, TORCH)
    assert [[bool(each.error) for each in outcomes] for outcomes in ranks] == [[False] * 3] * 2
    for outcomes in ranks:
        first, *later = (each.broadcast for each in outcomes)
        assert first >= whole
        assert all(size < whole / 4 for size in later), later
    one = alone(replace(script, folder=tmp_path / "alone"))
    for outcomes in ranks:
        assert max(map(distance, outcomes, one)) < 1e-5
