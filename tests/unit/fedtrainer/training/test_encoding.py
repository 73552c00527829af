"""Updates as the order's codec makes them: what is in the file, what is left for the next one, what cannot be sent."""

import json

import numpy as np
import pytest
import torch

from fedapi.wire.compression import Compression
from fedapi.wire.training import TrainingSettings
from fedcore.compression import fileform
from fedcore.tensors import tensorfile
from fedtrainer import Data, Site, Task, TrainResult
from fedtrainer.errors import DivergedError, SiteStateError, TaskInvalidError
from fedtrainer.ring.single import SingleRing
from fedtrainer.training import site_state, tensors
from fedtrainer.training.encoding import Encoder
from fedtrainer.training.site_state import SiteState
from fedtrainer.training.state_files import Committed, OrderState, StateFiles
from tests.unit.fedcore.compression.coding import file_of
from tests.unit.fedtrainer.training.sessions import One

CODECS = [Compression(codec=codec) for codec in ("Float16", "BFloat16", "Int8", "Int4")] + [
    Compression(codec="TopK", fraction=0.1)
]
EACH = pytest.mark.parametrize("compression", CODECS, ids=lambda each: each.codec)
RING = SingleRing("cpu")


def state(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        "w": torch.randn(70, 1001, generator=generator),
        "b": torch.randn(70, generator=generator),
        "h": torch.randn(3000, generator=generator).to(torch.bfloat16),
        "d": torch.randn(40_000, generator=generator, dtype=torch.float64),
        "mean": torch.randn(2000, generator=generator),
        "n": torch.tensor(seed),
        "m": torch.tensor([True, False]),
        "t": torch.randn(60, 50, generator=generator).T,
        "e": torch.zeros(0, 3),
    }


BASE, LOCAL = state(0), state(0) | {name: state(1)[name] for name in ("w", "b", "h", "d", "mean", "n", "t")}
PARAMETERS = frozenset("wbhdte")


def encoder(compression, before=None, seed=9):
    return Encoder(compression, seed, PARAMETERS, before or {})


def decoded(path, base=BASE):
    """The tensors that the hub has of a file, by its own reader."""
    from fedaggregator.engine import decoding
    from fedaggregator.engine.decoding import Layout
    from fedstore.memory import MemoryReader

    data = path.read_bytes()
    table = tensorfile.canonical_header(tensors._entry(name, value) for name, value in base.items())[1]
    file = tensorfile.parsed(data[8 : 8 + int.from_bytes(data[:8], "little")], len(data))
    reader = decoding.opened("u", MemoryReader("u", data), file, Layout.of(table), file.said["codec"], str)
    found = {}
    for tensor in reader.table.tensors:
        room = bytearray(tensor.end - tensor.begin)
        reader.read_into(memoryview(room), tensor.begin)
        value = torch.frombuffer(room, dtype=base[tensor.name].dtype) if room else torch.zeros(0)
        found[tensor.name] = value.reshape(tensor.shape)
    return found


@EACH
def test_the_hub_reads_what_was_written(tmp_path, compression):
    path = tmp_path / "update"
    written = tensors.write_delta(path, LOCAL, BASE, encoder=encoder(compression))
    assert written.size == written.encoded == path.stat().st_size
    assert written.encoded < 0.7 * tensors.plain_size(BASE)
    found = decoded(path)
    for name in ("b", "mean"):
        assert torch.equal(found[name], LOCAL[name] - BASE[name]), "what is small, or a buffer, is sent as it is"
    assert (int(found["n"]), found["m"].any(), found["e"].numel()) == (1, False, 0)
    for name in "whdt":
        delta = (LOCAL[name] - BASE[name]).double()
        error = (found[name].double() - delta).abs()
        bound = {"Float16": 2e-3, "BFloat16": 0.03, "Int8": 0.06, "Int4": 1.1}.get(compression.codec)
        if bound is not None:
            assert error.max() <= bound
            continue
        sent = found[name] != 0
        assert abs(int(sent.sum()) - 0.1 * delta.numel()) <= 4
        assert (error[sent] <= 2.0**-8 * delta[sent].abs()).all()
        assert delta[~sent].abs().max() <= delta[sent].abs().min() * (1 + 2.0**-8)


@EACH
def test_the_file_is_that_of_the_codecs_alone(tmp_path, compression):
    """However torch cuts the tensors into blocks: equal to what the tests of the codecs make of whole arrays."""
    from fedapi.wire.seeds import derived

    base = {"w": BASE["w"], "b": BASE["b"]}
    local = {name: LOCAL[name] for name in base}
    path = tmp_path / "update"
    tensors.write_delta(path, local, base, encoder=encoder(compression))
    deltas = {name: (local[name] - base[name]).numpy() for name in base}
    assert path.read_bytes() == file_of(deltas, compression.encoding, seed=derived(9, "w"))


@EACH
def test_same_seed_same_bytes(tmp_path, compression):
    paths = [tmp_path / name for name in "abc"]
    for path, seed in zip(paths, (9, 9, 10), strict=True):
        tensors.write_delta(path, LOCAL, BASE, encoder=encoder(compression, seed=seed))
    once, again, other = (path.read_bytes() for path in paths)
    assert once == again
    assert (once != other) == (compression.codec in ("Int8", "Int4"))


@EACH
def test_what_was_not_sent_is_added_to_the_next_update(tmp_path, compression):
    """Nothing is lost: what was sent and what is left are together what training has changed."""
    compression = compression.model_copy(update={"error_feedback": True})
    left, sent = {}, {name: torch.zeros(BASE[name].shape, dtype=torch.float64) for name in "whdt"}
    for round_ in range(6):
        its = encoder(compression, left, round_)
        tensors.write_delta(tmp_path / "update", LOCAL, BASE, encoder=its)
        found, left = decoded(tmp_path / "update"), its.left
        assert left.keys() == (set("wdt") if compression.codec.endswith("16") else set("whdt"))
        for name in left:
            sent[name] += found[name].double()
    for name in left:
        changed = 6 * (LOCAL[name] - BASE[name]).double()
        lost = (changed - sent[name] - left[name].double()).abs().max()
        assert lost <= 1e-4


def test_topk_without_what_was_left_never_sends_the_small_ones(tmp_path):
    base = {"w": torch.zeros(2000)}
    local = {"w": torch.linspace(1, 2, 2000)}
    seen = {}
    for feedback in (False, True):
        left, total = {}, torch.zeros(2000)
        for _ in range(20):
            its = Encoder(Compression(codec="TopK", fraction=0.1, error_feedback=feedback), 1, frozenset("w"), left)
            tensors.write_delta(tmp_path / "update", local, base, encoder=its)
            total += decoded(tmp_path / "update", base)["w"]
            left = its.left
        seen[feedback] = int((total != 0).sum())
    assert seen == {False: 200, True: 2000}


def test_what_is_left_of_another_form_is_not_used(tmp_path, caplog):
    compression = Compression(codec="Int8", error_feedback=True)
    its = encoder(compression, {"w": torch.ones(3)})
    tensors.write_delta(tmp_path / "update", LOCAL, BASE, encoder=its)
    assert "tensor 'w': what was left of it is (3,), and is not used" in caplog.text
    tensors.write_delta(tmp_path / "other", LOCAL, BASE, encoder=encoder(compression))
    assert (tmp_path / "update").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    ("codec", "value", "told"),
    [
        ("Float16", 70_000.0, "cannot be sent as Float16: a value of size 7000[01].* is not below 65520"),
        ("Int8", 3.4e38, "cannot be sent as Int8: a value of size 3.4e[+]38 is over 3.38e[+]38"),
        ("TopK", 1e300, "cannot be sent as TopK: a value is over 3.4e38, the most that float32 holds"),
        ("Int4", float("nan"), "is not finite after training: lower training.optimizer.learningRate"),
    ],
)
def test_what_cannot_be_sent_is_told_by_name(tmp_path, codec, value, told):
    compression = Compression(codec=codec, fraction=0.1 if codec == "TopK" else None)
    name = "d" if value > 1e200 else "w"
    local = LOCAL | {name: BASE[name].clone()}
    local[name].view(-1)[30_000] = value
    with pytest.raises(DivergedError, match=f"tensor '{name}' {told}"):
        tensors.write_delta(tmp_path / "update", local, BASE, encoder=encoder(compression))


def test_constants_that_are_not_finite_are_sent_as_no_change(tmp_path):
    mask = torch.full((50, 50), -torch.inf).triu(1)
    tensors.write_delta(tmp_path / "u", {"m": mask}, {"m": mask}, encoder=Encoder(CODECS[2], 1, frozenset("m"), {}))
    assert not decoded(tmp_path / "u", {"m": mask})["m"].any()


class Pushes(Task):
    """Adds to its weights what grows along them; uses ctx.state only where it is told."""

    uses_state = False

    def model(self):
        return torch.nn.Sequential(torch.nn.Linear(50, 40), torch.nn.BatchNorm1d(40))

    def data(self, site: Site) -> Data:
        return Data((torch.randn(8, 50), torch.randn(8, 40)))

    def train(self, model, data, settings, ctx):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.linspace(0, 1, parameter.numel()).reshape(parameter.shape))
        if self.uses_state:
            ctx.state["n"] = ctx.state.get("n", torch.zeros(())) + 1
        self.names = sorted(ctx.state) if self.uses_state else None
        return TrainResult(3)


TOPK = Compression(codec="TopK", fraction=0.1, error_feedback=True)


class Site1:
    """One site over rounds, with its state volume."""

    def __init__(self, folder):
        self.task = Pushes()
        self.one = One(folder, self.task)
        self.files = StateFiles(folder / "state")
        self.committed = None

    def trained(self, round_, compression=TOPK):
        order = OrderState(self.files, self.committed, (round_, 1))
        self.one.session.load(self.one.folder / "init" / "model.safetensors", order)
        session, data = self.one.session, self.one.session.data(round_)
        update = session.train(
            data, round_, TrainingSettings(), self.one.folder / "round", lambda: False, compression=compression
        )
        return update, decoded(self.one.folder / "round" / "update.safetensors", self.one.base)["0.weight"]

    def commit(self, round_, update):
        self.committed = Committed((round_, 1), update.file.sha256)
        self.files.promote(self.committed)
        self.files.discard(None)


@pytest.mark.parametrize("uses_state", [False, True])
def test_a_residual_counts_from_the_update_that_was_committed(tmp_path, uses_state):
    site = Site1(tmp_path)
    site.task.uses_state = uses_state
    first, sent = site.trained(1)
    assert int((sent != 0).sum()) == 200
    again, _ = site.trained(1)
    assert again.file == first.file, "trained again for the same round: the same bytes"
    site.commit(1, first)
    dropped, second = site.trained(2)
    assert not torch.equal(second, sent), "what was not sent has grown"
    site.files.discard(None)
    repeated, _ = site.trained(2)
    assert repeated.file == dropped.file, "an update that was not committed leaves nothing behind"
    assert site.task.names == (["n"] if uses_state else None), "a task sees its own state alone"


def test_a_task_does_not_see_residuals_and_may_not_take_their_names():
    state = SiteState({}, residuals={"w": torch.ones(3)})
    assert (dict(state), len(state), state.wanted) == ({}, 0, True)
    assert state.copy().residuals == state.residuals
    with pytest.raises(TaskInvalidError, match=r"'fedloom.residual.w' begins with 'fedloom\.', which is Fedloom's own"):
        state["fedloom.residual.w"] = torch.ones(3)


def test_a_state_of_residuals_alone_is_none_of_the_task(tmp_path):
    """A task that asks for ctx.state for the first time after a commit is told, as it is where there is no file."""
    site = Site1(tmp_path)
    first, _ = site.trained(1)
    site.commit(1, first)
    site.task.uses_state = True
    with pytest.raises(SiteStateError, match=r"there is none: use ctx\.state in every training from the first one on"):
        site.trained(2)


def test_residuals_that_are_lost_begin_anew_and_are_told(tmp_path, caplog):
    site = Site1(tmp_path)
    first, sent = site.trained(1)
    site.commit(1, first)
    for path in site.files.folder.iterdir():
        path.unlink()
    _, second = site.trained(2)
    assert torch.equal(second, sent)
    assert "nothing is there of what earlier updates left unsent: begins with nothing" in caplog.text


def test_residuals_end_with_error_feedback(tmp_path):
    site = Site1(tmp_path)
    first, _ = site.trained(1)
    site.commit(1, first)
    second, _ = site.trained(2, Compression(codec="Int8"))
    site.commit(2, second)
    assert site_state.opened(OrderState(site.files, site.committed), RING).residuals == {}


def test_an_update_says_how_much_smaller_it_is(tmp_path, caplog):
    caplog.set_level("INFO")
    site = Site1(tmp_path)
    update, _ = site.trained(1, Compression(codec="Int8"))
    plain = tensors.plain_size(site.one.base)
    said = (
        f"Int8: the update is {update.file.encoded} bytes instead of {plain}, {plain / update.file.encoded:.2f} times"
    )
    assert said in caplog.text


def test_the_metadata_of_a_file_without_residuals_stays_what_it_was(tmp_path):
    files = StateFiles(tmp_path / "state")
    state = SiteState({}, kept=True)
    state["n"] = torch.ones(1)
    site_state.stage(OrderState(files, None, (1, 1)), state, "0" * 64)
    (path,) = files.folder.iterdir()
    header = path.read_bytes()
    assert "__metadata__" not in json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])


def test_encoded_parts_of_a_real_update_are_named_after_their_tensor(tmp_path):
    tensors.write_delta(tmp_path / "u", LOCAL, BASE, encoder=encoder(CODECS[2]))
    data = (tmp_path / "u").read_bytes()
    table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert table["__metadata__"] == {"fedloom": json.dumps({"codec": "Int8"})}
    assert {name for name in table if "/" in name} == {"w/scale", "h/scale", "d/scale", "t/scale"}
    assert fileform.SMALL == 1024
    assert np.prod(table["w"]["shape"]) % 512 == 0


@EACH
def test_what_is_sent_in_place_of_the_change_is_encoded_too(tmp_path, compression):
    """A gradient, where the strategy asks for one."""
    gradient = LOCAL["w"] - BASE["w"]
    tensors.write_delta(tmp_path / "u", LOCAL, BASE, encoder=encoder(compression))
    tensors.write_delta(tmp_path / "v", BASE, BASE, instead={"w": gradient}, encoder=encoder(compression))
    found = decoded(tmp_path / "v")
    assert torch.equal(found["w"], decoded(tmp_path / "u")["w"])
    assert not found["d"].any()


def test_residuals_lie_beside_what_a_method_keeps(tmp_path):
    files = StateFiles(tmp_path / "state")
    state = SiteState({})
    state.keep("control", {"w": torch.full((3,), 2.0)})
    state.residuals = {"w": torch.ones(3)}
    site_state.stage(OrderState(files, None, (1, 1)), state, "0" * 64)
    files.promote(committed := Committed((1, 1), "0" * 64))
    again = site_state.opened(OrderState(files, committed), RING)
    assert (list(again), again.part("control")["w"].tolist()) == ([], [2.0] * 3)
    assert again.residuals["w"].tolist() == [1.0] * 3
