"""The site's state: current after its update was committed and at no other time, whatever is killed in between."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from fedtrainer.errors import SiteStateError, TaskInvalidError
from fedtrainer.ring.single import SingleRing
from fedtrainer.training.site_state import SiteState, opened, stage
from fedtrainer.training.state_files import OrderState, StateFiles

RING = SingleRing("cpu")


@pytest.fixture
def files(tmp_path):
    return StateFiles(tmp_path / "state")


def trained(files, committed, update, value):
    """A training whose task counts in its state."""
    order = OrderState(files, committed, update)
    state = opened(order, RING)
    before = float(state["n"]) if "n" in state else 0.0
    state["n"] = torch.tensor(float(value))
    stage(order, state)
    return before


def value(files, committed):
    state = opened(OrderState(files, committed), RING)
    return float(state["n"]) if "n" in state else None


# What the site hears, in order: (committed, order or None), and what is current then. It has staged (1, 1) before.
HEARD = [
    ("committed", [((1, 1), (2, 1))], 1.0),
    ("an evaluation, then the next round", [((1, 1), None), ((1, 1), (2, 1))], 1.0),
    ("not selected for ten rounds", [((1, 1), None)] * 3 + [((1, 1), (12, 1))], 1.0),
    ("the attempt has failed", [(None, (1, 2))], None),
    ("the attempt has failed and the round went on without it", [(None, (2, 1))], None),
    ("the same order again", [(None, (1, 1)), ((1, 1), (2, 1))], 1.0),
    ("nothing yet, then committed", [(None, None), (None, None), ((1, 1), (2, 1))], 1.0),
]


def test_a_kill_while_state_becomes_current_does_not_reset_it(files, monkeypatch):
    files.folder.mkdir()
    (files.folder / "reset").touch()
    trained(files, None, (1, 1), 1)
    with monkeypatch.context() as killed:
        killed.setattr("fedtrainer.training.state_files._sync", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            files.promote((1, 1))
    files.promote((1, 1))
    assert value(files, (1, 1)) == 1


@pytest.mark.parametrize("again", [2, 3, 4])
def test_a_round_that_is_made_again_after_the_store_was_put_back_leaves_its_own_state(files, again):
    trained(files, None, (1, 1), 1)
    files.promote((1, 1))
    files.promote(None)
    (files.folder / "reset").touch()
    assert trained(files, None, (1, 1), again) == 0
    files.promote((1, 1))
    assert value(files, (1, 1)) == again


@pytest.mark.parametrize(("heard", "current"), [row[1:] for row in HEARD], ids=[row[0] for row in HEARD])
def test_what_is_heard_decides(files, heard, current):
    trained(files, None, (1, 1), 1)
    for committed, order in heard:
        files.promote(committed)
        if order is not None:
            files.discard(order)
    assert value(files, heard[-1][0]) == current
    staged = list(files.folder.glob("staged-*"))
    assert bool(staged) is (heard[-1][1] == (1, 1))


def test_a_training_starts_from_what_was_committed_and_not_from_what_was_tried(files):
    assert trained(files, None, (1, 1), 1) == 0
    files.promote((1, 1))
    assert trained(files, (1, 1), (2, 1), 2) == 1
    files.discard((2, 2))
    assert trained(files, (1, 1), (2, 2), 3) == 1
    assert trained(files, (1, 1), (2, 2), 4) == 1, "the same again"
    files.promote((2, 2))
    assert value(files, (2, 2)) == 4
    assert len(list(files.folder.iterdir())) == 1


def test_a_state_that_the_task_leaves_alone_goes_on(files):
    trained(files, None, (1, 1), 1)
    files.promote((1, 1))
    order = OrderState(files, (1, 1), (2, 1))
    stage(order, opened(order, RING))
    files.promote((2, 1))
    assert value(files, (2, 1)) == 1


def test_a_task_without_state_leaves_no_files(files):
    order = OrderState(files, None, (1, 1))
    stage(order, opened(order, RING))
    files.promote((1, 1))
    later = OrderState(files, (1, 1), (2, 1))
    stage(later, opened(later, RING))
    assert not files.folder.exists()


def test_an_evaluation_reads_and_stages_nothing(files):
    trained(files, None, (1, 1), 1)
    files.promote((1, 1))
    order = OrderState(files, (1, 1))
    state = opened(order, RING)
    state["n"] = torch.tensor(9.0)
    stage(order, state)
    assert value(files, (1, 1)) == 1


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# What has happened to the current state of (1, 1), which commit the aggregator names, and the words.
LOST = [
    (damage, (1, 1), "is damaged"),
    (lambda path: path.write_bytes(b""), (1, 1), "is damaged"),
    (Path.unlink, (1, 1), "of round 1"),
    (lambda path: None, (3, 1), "there is that of round 1"),
    (lambda path: None, None, "of no round"),  # the aggregator has lost its store
]


@pytest.mark.parametrize(("happened", "committed", "words"), LOST)
def test_a_state_that_cannot_be_had_is_an_error_for_who_asks_and_a_person_may_reset_it(
    files, happened, committed, words
):
    trained(files, None, (1, 1), 1)
    files.promote((1, 1))
    happened(files.current().path)
    state = opened(OrderState(files, committed), RING)
    with pytest.raises(SiteStateError, match=words) as told:
        state.get("n")
    assert str(files.folder / "reset") in str(told.value)
    with pytest.raises(SiteStateError):
        state.copy()["n"] = torch.zeros(1)
    (files.folder / "reset").touch()
    assert trained(files, committed, (4, 1), 7) == 0
    files.promote((4, 1))
    assert value(files, (4, 1)) == 7
    assert [path.name for path in files.folder.iterdir()] == [files.current().path.name]


def test_what_a_state_holds(files):
    state = SiteState({})
    weights = torch.nn.Linear(2, 2).weight
    state["w"] = weights
    with torch.no_grad():
        weights.fill_(5)
    assert not state["w"].requires_grad
    assert float(state["w"].max()) < 5, "a copy"
    state.update(steps=torch.tensor(3), half=torch.zeros(0, dtype=torch.bfloat16))
    order = OrderState(files, None, (1, 1))
    stage(order, state)
    files.promote((1, 1))
    again = opened(OrderState(files, (1, 1)), RING)
    assert sorted(again) == ["half", "steps", "w"]
    assert torch.equal(again["w"], state["w"])
    for name, wrong in (
        ("x", 3.0),
        ("x", torch.zeros(1, dtype=torch.complex64)),
        ("", torch.zeros(1)),
        (1, torch.zeros(1)),
    ):
        with pytest.raises(TaskInvalidError, match=r"ctx\.state"):
            state[name] = wrong


class Killed(BaseException):
    pass


@contextmanager
def killed_at(step: int) -> Iterator[list[int]]:
    """The process is killed at the n-th operation on the volume, before or in the middle of it."""
    count = [0]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (Path, "open")):
            original = getattr(owner, name)

            def step_by_step(*args, _original=original, **values):
                count[0] += 1
                if count[0] == step:
                    raise Killed
                return _original(*args, **values)

            patch.setattr(owner, name, step_by_step)
        yield count


class Life:
    """A site and what its aggregator has committed. Round 2 fails at its first attempt, and round 4 goes without it."""

    SCRIPT = ((1, 1, True), (2, 1, False), (2, 2, True), (3, 1, True), (4, 1, False), (5, 1, True))

    def __init__(self, folder: Path) -> None:
        self.files = StateFiles(folder / "state")
        self.committed, self.position, self.values = None, 0, []

    def go_on(self) -> None:
        """From the order that was not answered when the process was killed."""
        while self.position < len(self.SCRIPT):
            round_, attempt, counts = self.SCRIPT[self.position]
            self.files.promote(self.committed)
            self.files.discard((round_, attempt))
            before = trained(self.files, self.committed, (round_, attempt), len(self.values) + 1)
            if counts:  # handed in: from here on the aggregator has it
                self.values.append(before)
                self.committed = (round_, attempt)
            self.position += 1
        self.files.promote(self.committed)
        self.files.discard(None)


def test_a_kill_at_any_step_leaves_the_state_of_the_last_commit(tmp_path):
    step, ended = 0, False
    while not ended:
        step += 1
        life = Life(tmp_path / str(step))
        with killed_at(step) as count:
            with suppress(Killed):
                life.go_on()
            ended = count[0] < step
        life.go_on()
        assert life.values == [0, 1, 2, 3], f"killed at step {step}"
        assert value(life.files, life.committed) == 4
        assert [p.name for p in life.files.folder.iterdir() if p.name.startswith(("staged", "current"))] == [
            life.files.current().path.name
        ], f"killed at step {step}"
    assert step > 40, "so many operations were looked at"
