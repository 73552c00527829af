"""A site's sub-model: what the init step says of it, what a site is given and sends, and models that make none, by name."""

import sys
from types import ModuleType

import pytest
import torch

from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.training import TrainingSettings
from fedtrainer import Data, Task
from fedtrainer.errors import TaskInvalidError
from fedtrainer.ring.single import SingleRing
from fedtrainer.training import tensors
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec
from fedtrainer.training.state_files import Committed, OrderState, StateFiles
from tests.unit.fedcore.compression.coding import file_of, sent

INT8 = Encoding(codec="Int8")
NARROW = {
    "1.weight": [6, 4],
    "1.bias": [6],
    "2.weight": [6],
    "2.bias": [6],
    "2.running_mean": [6],
    "2.running_var": [6],
    "3.weight": [2, 6],
}


class Net(Task):
    """A hidden layer and its norm that become narrower; input and output stay."""

    def __init__(self, spoil=lambda width, model: None, freeze=False):
        self.spoil, self.freeze = spoil, freeze

    def model(self, width=1.0):
        hidden = round(12 * width)
        model = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(4, hidden), torch.nn.BatchNorm1d(hidden), torch.nn.Linear(hidden, 2)
        )
        if self.freeze:
            model[1].requires_grad_(False)
        return self.spoil(width, model) or model

    def data(self, site):
        inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
        return Data((inputs, inputs[:, :2]), (inputs, inputs[:, :2]))


class Site:
    def __init__(self, folder, monkeypatch, task, widths=(0.5,), **said):
        self.folder, self.monkeypatch, self.said = folder, monkeypatch, {"batch_size": 8} | said
        self.files, self.committed, self.round = StateFiles(folder / "state"), None, 0
        self.use(task)
        write_initial_model("narrow_task:task", {}, 7, 1, folder / "init", training=self.settings(None), widths=widths)
        self.initial = folder / "init" / "model.safetensors"

    def use(self, task):
        module = ModuleType("narrow_task")
        module.task = lambda: task
        self.monkeypatch.setitem(sys.modules, module.__name__, module)
        self.session = Session(Spec("narrow_task:task", {}, 7, 1, "site-a", self.folder), SingleRing("cpu"))

    def settings(self, width):
        return TrainingSettings(model_width=width, **self.said)

    def load(self, width, initial=True, update=None):
        order = OrderState(self.files, self.committed, update)
        self.files.promote(self.committed)
        self.session.load(self.initial, order, None, self.initial if initial else None, self.settings(width))

    def train(self, width, compression=None):
        self.round += 1
        self.load(width, update=(self.round, 1))
        folder, data = self.folder / f"round-{self.round}", self.session.data(self.round)
        made = self.session.train(
            data, self.round, self.settings(width), folder, lambda: False, compression=compression
        )
        self.committed = Committed((self.round, 1), made.file.sha256)
        return tensors.read(folder / "update.safetensors")


@pytest.fixture
def site(tmp_path, monkeypatch):
    return lambda task=None, **said: Site(tmp_path, monkeypatch, task or Net(), **said)


def lead(values, shapes):
    return {name: value[tuple(map(slice, shapes.get(name, value.shape)))] for name, value in values.items()}


def test_a_site_trains_the_leading_slice_and_sends_it_and_one_process_any_width(site):
    one = site(widths=(0.5, 0.25))
    assert tensors.said(one.initial)["widths"]["0.5"] == NARROW
    whole = tensors.read(one.initial)
    for width, shapes in ((0.5, NARROW), (None, {}), (0.5, NARROW)):
        sent = one.train(width)
        expected = lead(whole, shapes)
        assert {name: tuple(value.shape) for name, value in sent.items()} == {
            n: tuple(v.shape) for n, v in expected.items()
        }
        assert all(torch.equal(one.session._base[name], value) for name, value in expected.items())
        assert sent["3.weight"].abs().sum() > 0
        assert torch.allclose(one.session._model.state_dict()["3.weight"], expected["3.weight"] + sent["3.weight"])
    metrics = one.session.evaluate(one.session.data(1), 1, one.settings(0.5), lambda: False).metrics
    one.load(None)
    assert metrics != one.session.evaluate(one.session.data(1), 1, one.settings(None), lambda: False).metrics


def test_frozen_tensors_are_cut_to_size_and_do_not_travel(site):
    one = site(Net(freeze=True))
    sent = one.train(0.5)
    assert sent.keys() == {f"2.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")} | {"3.weight", "3.bias"}  # fmt: skip
    assert torch.equal(one.session._base["1.weight"], tensors.read(one.initial)["1.weight"][:6])


def changed(of, make):
    """At a width below 1 another module in the place of one."""

    def spoil(width, model):
        if width < 1:
            model[of] = make(model[of])

    return spoil


def freezing(width, model):
    model[3].requires_grad_(width == 1)


class Deaf(Task):
    def model(self):
        return torch.nn.Linear(2, 2)


class Counting(Net):
    """A buffer of integers that becomes shorter."""

    def model(self, width=1.0):
        model = super().model(width)
        model.register_buffer("seen", torch.zeros(round(12 * width), dtype=torch.int64))
        return model


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (Deaf(), r"modelWidth is 0\.5, and the task's model\(\) takes no width: write model\(self, width=1\.0\)"),
        (Net(lambda width, _: Net().model() if width < 1 else None), r"model\(width=0\.5\) has no smaller tensor"),
        (Net(changed(3, lambda _: torch.nn.Linear(6, 3))), r"tensor '3\.bias' is \[3\], which is no leading slice of \[2\]"),
        (Net(changed(3, lambda _: torch.nn.Linear(6, 2, bias=False))), r"lacks tensor '3\.bias', unlike model\(\)"),
        (Net(changed(0, lambda _: torch.nn.BatchNorm1d(4))), r"has tensor '0\.bias', unlike model\(\)"),
        (Net(changed(3, lambda layer: layer.double())), r"has 3\.bias as torch\.float64, model\(\) as torch\.float32"),
        (Net(changed(3, lambda _: torch.nn.Conv1d(6, 2, 1))), r"tensor '3\.weight' is \[2, 6, 1\], which is no leading slice of \[2, 12\]"),
        (Net(freezing), r"model\(width=0\.5\) freezes tensor '3\.bias' where model\(\) does not"),
        (Counting(), r"tensor 'seen' is smaller, and I64: floats alone can be sliced"),
    ],
)  # fmt: skip
def test_a_model_that_makes_no_sub_model_is_named_by_the_init_step(site, task, told):
    with pytest.raises(TaskInvalidError, match=told):
        site(task)


def test_a_site_whose_slices_are_others_than_the_job_s(site):
    one = site()
    one.use(Net(lambda width, _: Net().model(0.25) if width < 1 else None))
    with pytest.raises(TaskInvalidError, match=r"has 1\.bias as \[3\], the job's initial model says \[6\]"):
        one.load(0.5)


def test_a_width_that_the_job_was_not_made_with(site):
    one = site()
    with pytest.raises(
        TaskInvalidError, match=r"modelWidth 0\.75 is none of those .*\(0\.5\): give the override one of them"
    ):
        one.load(0.75)
    with pytest.raises(TaskInvalidError, match=r"modelWidth 0\.5 is none of those .*\(none\)"):
        one.load(0.5, initial=False)


def test_what_stays_at_a_site_is_of_its_width_and_another_is_told(site):
    one = site(local_parameters=("2.*",))
    one.train(0.5)
    left = one.session._model.state_dict()["2.running_mean"].clone()
    one.load(0.5)
    assert torch.equal(one.session._base["2.running_mean"], left)
    with pytest.raises(
        TaskInvalidError, match=r"tensor '2\.bias', .* is \[6\] in the site's state, and \[12\] in its model"
    ):
        one.load(None)


class Wide(Net):
    """With a layer that is large enough to be encoded."""

    def model(self, width=1.0):
        hidden = round(1200 * width)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, hidden), torch.nn.Linear(hidden, 2))


def test_a_residual_of_another_width_is_not_used(site, caplog):
    one = site(Wide())
    topk = Compression(codec="TopK", fraction=0.1, error_feedback=True)
    one.train(0.5, topk)
    one.train(0.5, topk)
    assert "is not used" not in caplog.text
    one.train(None, topk)
    assert "tensor '1.weight': what was left of it is (600, 4), and is not used" in caplog.text


def test_an_encoded_model_is_decoded_whole_and_then_cut(site):
    one = site(Wide())
    whole = {name: value.numpy() for name, value in tensors.read(one.initial).items()}
    path = one.folder / "model"
    path.write_bytes(file_of(whole, INT8, {"1.weight"}))
    one.session.load(path, OrderState(one.files, None, (1, 1)), None, one.initial, one.settings(0.5), INT8)
    shapes = {name: tuple(value.shape) for name, value in one.session._model.state_dict().items()}
    expected = lead({name: torch.from_numpy(value) for name, value in sent(whole, INT8, {"1.weight"}).items()}, shapes)
    assert shapes["1.weight"] == (600, 4)
    assert all(torch.equal(one.session._base[name], value) for name, value in expected.items())
    assert not torch.equal(one.session._base["1.weight"], tensors.read(one.initial)["1.weight"][:600]), "as it came"
