"""Which tensors travel: by what model() freezes and by patterns, what a site checks, and how a round's model is put together."""

import sys
from types import ModuleType

import pytest
import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer import Data, Task
from fedtrainer.errors import DivergedError, TaskInvalidError
from fedtrainer.ring.single import SingleRing
from fedtrainer.training import state, tensors
from fedtrainer.training.exchange import Exchange, exchange, trained
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec
from fedtrainer.training.state_files import Committed, OrderState, StateFiles

NORM = {f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.norm, self.head = torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 4)
        self.backbone.requires_grad_(False)
        self.tied = self.head.bias

    def forward(self, inputs):
        return self.head(self.norm(self.backbone(inputs)))


class Part(Task):
    def __init__(self, shift=0.0, spoilt="", freeze=True):
        self.shift, self.spoilt, self.freeze = shift, spoilt, freeze

    def model(self):
        net = Net()
        net.backbone.bias.requires_grad_(not self.freeze)
        return net

    def data(self, site):
        inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(1)) + self.shift
        return Data((inputs, inputs.roll(1, 1)), (inputs, inputs.roll(1, 1)))

    def train(self, model, data, settings, ctx):
        result = super().train(model, data, settings, ctx)
        if self.spoilt:
            with torch.no_grad():
                model.state_dict()[self.spoilt].fill_(torch.nan)
        return result


def found(**patterns):
    net = Net()
    entries = state.parameters(net, net.state_dict())
    return exchange(net.state_dict(), entries, trained(net, entries), TrainingSettings(**patterns))


def test_what_stays_is_what_is_frozen_and_what_patterns_say():
    frozen = {"backbone.weight", "backbone.bias"}
    assert found() == Exchange(frozenset(frozen), frozenset())
    assert found(local_parameters=("norm.*",)) == Exchange(frozenset(frozen), frozenset(NORM))
    both = found(exchange=("head.weight",), local_parameters=("norm.*",))
    assert both == Exchange(frozenset(frozen | {"head.bias", "tied"}), frozenset(NORM))
    assert found(exchange=("*",)).frozen == frozen, "a frozen parameter does not travel, whatever a pattern says"
    assert found(local_parameters=("backbone.*", "norm.*")).local == NORM, "nor has each site its own of it"


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        ({"local_parameters": ("nrom.*",)}, r"training\.localParameters: 'nrom\.\*' matches no tensor of the model"),
        ({"exchange": ("head.*", "Head.*")}, r"training\.exchange: 'Head\.\*' matches no tensor"),
        ({"exchange": ("head.*",), "local_parameters": ("*.bias",)}, r"'head\.bias' is named by training\.exchange"),
        ({"local_parameters": ("*",)}, "no tensor of the model travels"),
        ({"local_parameters": ("tied",)}, r"'head\.bias' and 'tied' are one parameter, but the first travels"),
    ],
)
def test_patterns_that_do_not_do_are_named(patterns, told):
    with pytest.raises(TaskInvalidError, match=told):
        found(**patterns)


class Site:
    """One site; its update becomes the next model."""

    def __init__(self, folder, monkeypatch, made_by=None, **patterns):
        self.folder, self.settings = folder, TrainingSettings(batch_size=8, **patterns)
        self.initial = self.model = folder / "init" / "model.safetensors"
        self.round, self.committed, self.files = 0, None, StateFiles(folder / "state")
        self.monkeypatch = monkeypatch
        self.use(made_by or Part())
        write_initial_model("task_that_stays:task", {}, 7, 1, folder / "init", training=self.settings)

    def use(self, task):
        """A new process, with that task."""
        module = ModuleType("task_that_stays")
        module.task = lambda: task
        self.monkeypatch.setitem(sys.modules, module.__name__, module)
        self.session = Session(Spec("task_that_stays:task", {}, 7, 1, "site-a", self.folder), SingleRing("cpu"))

    def load(self, initial=True, update=None):
        order = OrderState(self.files, self.committed, update)
        order.files.promote(order.committed)
        self.session.load(self.model, order, None, self.initial if initial else None, self.settings)

    def train(self):
        self.load(update=(self.round + 1, 1))
        self.round += 1
        folder = self.folder / f"round-{self.round}"
        made = self.session.train(self.session.data(self.round), self.round, self.settings, folder, lambda: False)
        sent = tensors.read(folder / "update.safetensors")
        base = {**tensors.read(self.initial), **tensors.read(self.model)}
        self.model = self.folder / f"model-{self.round}.safetensors"
        tensors.write(self.model, {name: base[name] + change for name, change in sent.items()})
        self.committed = Committed((self.round, 1), made.file.sha256)
        return sent

    def began(self):
        self.load()
        return {name: value.clone() for name, value in self.session._base.items()}

    def now(self):
        return {name: value.clone() for name, value in self.session._model.state_dict().items()}


@pytest.fixture
def site(tmp_path, monkeypatch):
    return lambda **said: Site(tmp_path, monkeypatch, **said)


def test_a_site_finds_its_own_tensors_again_and_sends_the_others(site):
    one = site(local_parameters=("norm.*",))
    first = one.began()
    assert one.train().keys() == {"head.weight", "head.bias", "tied"}
    left = one.now()
    one.use(Part())
    began = one.began()
    assert all(torch.equal(began[name], left[name]) for name in NORM)
    assert not torch.equal(began["norm.weight"], first["norm.weight"])
    assert all(torch.equal(began[name], first[name]) for name in ("backbone.weight", "backbone.bias"))
    one.train()
    again = one.now()
    one.committed = Committed((1, 1), None)  # the aggregator has not committed the second update
    one.files.discard(None)
    assert all(torch.equal(one.began()[name], left[name]) for name in NORM)
    assert not torch.equal(again["norm.weight"], left["norm.weight"])


def test_an_evaluation_is_of_the_site_s_own_tensors(site):
    one = site(made_by=Part(shift=5.0), local_parameters=("norm.*",))
    one.train()
    one.load()
    own = one.session.evaluate(one.session.data(1), 1, one.settings, lambda: False).metrics
    one.committed, one.files = None, StateFiles(one.folder / "none")
    one.load()
    others = one.session.evaluate(one.session.data(1), 1, one.settings, lambda: False).metrics
    assert own["loss"] < others["loss"]


@pytest.mark.parametrize(
    ("spoilt", "error", "told"),
    [
        ("backbone.weight", TaskInvalidError, "tensor 'backbone.weight' is frozen, and training has changed it"),
        ("norm.weight", DivergedError, "tensor 'norm.weight' is not finite after training"),
    ],
)
def test_a_training_that_spoils_what_is_not_sent_is_told(site, spoilt, error, told):
    one = site(local_parameters=("norm.*",))
    one.use(Part(spoilt=spoilt))
    with pytest.raises(error, match=told):
        one.train()
    assert one.files.staged((1, 1), "") is None


def test_a_site_that_freezes_others_than_the_job_is_told_the_first(site):
    one = site()
    one.use(Part(freeze=False))
    with pytest.raises(
        TaskInvalidError, match=r"tensor 'backbone\.bias' travels at this site, and is frozen by the job"
    ):
        one.load()


def test_patterns_that_the_initial_model_does_not_know_are_not_overlooked(site):
    one = site(exchange=("head.*", "tied"))
    with pytest.raises(TaskInvalidError, match=r"does not say which tensors training\.exchange keeps from travelling"):
        one.load(initial=False)


def test_all_of_a_model_travels_whose_job_began_before_there_was_any_other_way(site):
    one = site()
    one.load(initial=False, update=(1, 1))
    one.session.train(one.session.data(1), 1, one.settings, one.folder / "old", lambda: False)
    assert tensors.read(one.folder / "old" / "update.safetensors").keys() == Net().state_dict().keys()


def test_a_model_with_other_tensors_than_travel_is_refused(site):
    one = site()
    one.train()
    tensors.write(one.model, {"head.weight": torch.zeros(4, 6)})
    with pytest.raises(TaskInvalidError, match=r"head\.bias"):
        one.load()


def test_what_the_exchange_leaves_out_has_no_gradient(site):
    one = site(exchange=("head.*", "tied"))
    one.load()
    assert [name for name, p in one.session._model.named_parameters() if p.requires_grad] == ["tied", "head.weight"]
