"""What a site may tell: over rounds, attempts and processes, its updates never pass the target, and it says why it trains no more."""

import sys

import pytest
import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer import TrainResult
from fedtrainer.errors import BadSettingsError, BudgetSpentError, SiteStateError, TaskInvalidError
from fedtrainer.ring.single import SingleRing
from fedtrainer.training.dpsgd import opening
from fedtrainer.training.dpsgd.account import FILE, Account
from fedtrainer.training.dpsgd.accountant import epsilon
from fedtrainer.training.dpsgd.private import PrivateTraining
from fedtrainer.training.state_files import Committed, OrderState, StateFiles
from tests.unit.fedtrainer.training.dpsgd.sites import asked
from tests.unit.fedtrainer.training.sessions import Given, One

RECORDS = torch.randn(24, 4), torch.tensor([0, 1] * 12)


def linear():
    return torch.nn.Linear(4, 2)


class Rounds:
    """A site over rounds: each attempt is a process of its own, over the same state folder."""

    def __init__(self, folder, **dpsgd):
        self.folder, self.dpsgd, self.committed = folder, asked(noise_multiplier=None, **dpsgd), None

    def attempt(self, round_, attempt=1, *, committed=True):
        order = OrderState(StateFiles(self.folder), self.committed, (round_, attempt))
        private = PrivateTraining(self.dpsgd, SingleRing("cpu"), round_, order)
        private.begin(linear(), samples=24, batch=6, steps=4)
        said = private.charged("a" * 64)
        if committed:
            self.committed = Committed((round_, attempt), "a" * 64)
        return private.release.noise_multiplier, said


def test_the_last_round_meets_the_target_and_all_rounds_have_the_same_noise(tmp_path):
    site = Rounds(tmp_path, target_epsilon=2.0, rounds=4)
    found = [site.attempt(round_) for round_ in (1, 2, 3, 4)]
    spent = [said.epsilon for _, said in found]
    assert spent == sorted(spent)
    assert 1.9 < spent[-1] <= 2.0
    assert len({noise for noise, _ in found}) == 1
    assert {(said.unit, said.delta) for _, said in found} == {("Record", 1e-3)}


def test_attempts_that_left_the_site_are_charged_for_and_later_rounds_have_more_noise(tmp_path):
    site = Rounds(tmp_path, target_epsilon=2.0, rounds=4)
    first, _ = site.attempt(1)
    site.attempt(2, 1, committed=False)
    later, _ = site.attempt(2, 2)
    site.attempt(3)
    last, said = site.attempt(4)
    assert first < later <= last
    assert said.epsilon <= 2.0
    assert len(Account(tmp_path).releases) == 5


def test_a_round_that_would_pass_the_target_is_not_trained(tmp_path):
    site = Rounds(tmp_path, target_epsilon=1.5, rounds=9)
    site.dpsgd = site.dpsgd.model_copy(update={"noise_multiplier": 2.0})

    def run():
        for round_ in range(1, 10):
            site.attempt(round_)

    with pytest.raises(BudgetSpentError, match=r"epsilon [\d.]+ \(of one record, delta 0.001\).*targetEpsilon 1.5"):
        run()
    releases = Account(tmp_path).releases
    assert 1 < len(releases) < 9
    assert epsilon(releases, 1e-3) <= 1.5 < epsilon([*releases, releases[0]], 1e-3)


def test_a_site_that_has_spent_its_target_says_so_whatever_the_noise(tmp_path):
    site = Rounds(tmp_path, target_epsilon=2.0, rounds=1)
    site.attempt(1)
    with pytest.raises(BudgetSpentError, match="whatever the noise"):
        site.attempt(2)


def test_a_site_whose_account_is_lost_trains_no_more(tmp_path):
    site = Rounds(tmp_path, target_epsilon=2.0, rounds=3)
    site.attempt(1)
    (tmp_path / FILE).unlink()
    with pytest.raises(SiteStateError, match="lacks its update of round 1"):
        site.attempt(2)


def test_an_update_is_charged_for_before_it_is_told_of(tmp_path):
    one = One(tmp_path, Given(linear, RECORDS))
    one.session.load(tmp_path / "init" / "model.safetensors", OrderState(StateFiles(tmp_path / "state"), None, (1, 1)))
    seen = []
    one.session.train(
        one.session.data(1),
        1,
        TrainingSettings(dp_sgd=asked()),
        tmp_path / "round",
        lambda: False,
        lambda trained: seen.append((trained.privacy, Account(tmp_path / "state").releases)),
    )
    ((said, releases),) = seen
    assert said.epsilon == epsilon(releases, 1e-3) > 0


def test_a_site_without_training_data_tells_nothing(tmp_path):
    one = One(tmp_path, Given(linear, None))
    trained = one.train(dp_sgd=asked().model_dump())
    assert (trained.samples, trained.privacy.epsilon) == (0, 0.0)


class Plain(Given):
    """With a loop of its own, by which nothing is hidden."""

    def train(self, model, data, settings, ctx):
        return TrainResult(len(data.train[0]), {}, 1)


class Twice(Given):
    def train(self, model, data, settings, ctx):
        super().train(model, data, settings, ctx)
        return super().train(model, data, settings, ctx)


@pytest.mark.parametrize(
    ("task", "words"), [(Plain, "has made steps without it"), (Twice, "trains twice in one round")]
)
def test_a_loop_of_the_tasks_own_is_refused(tmp_path, task, words):
    one = One(tmp_path, task(linear, RECORDS))
    with pytest.raises(TaskInvalidError, match=words):
        one.train(dp_sgd=asked().model_dump())


def test_an_image_without_opacus_says_what_to_build(monkeypatch):
    monkeypatch.setitem(sys.modules, "fedtrainer.training.dpsgd.private", None)
    with pytest.raises(BadSettingsError, match=r"needs the package opacus.*fedloom\[dpsgd\]"):
        opening.opened(asked(), SingleRing("cpu"), 1, None)
    assert opening.opened(None, SingleRing("cpu"), 1, None) is None


def test_hosts_that_compute_one_batch_together_are_refused():
    ring = SingleRing("cpu")
    ring.multiple = 4
    with pytest.raises(BadSettingsError, match="not for TPU"):
        PrivateTraining(asked(), ring, 1, None)
