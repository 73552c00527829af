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
from fedtrainer.training.state_files import Committed, OrderState, StateFiles

RING = SingleRing("cpu")


@pytest.fixture
def files(tmp_path):
    return StateFiles(tmp_path / "state")


def digest(value):
    """Of the update of the training that left this value."""
    return f"{value:064x}"


def made(update, value):
    """What the aggregator says once the update of that training is committed."""
    return Committed(update, digest(value))


def trained(files, committed, update, value):
    """A training whose task counts in its state."""
    order = OrderState(files, committed, update)
    state = opened(order, RING)
    before = float(state["n"]) if "n" in state else 0.0
    state["n"] = torch.tensor(float(value))
    stage(order, state, digest(value))
    return before


def names(files):
    """What is in the folder, without digests."""
    return sorted("-".join(path.name.split("-")[:3]) for path in files.folder.iterdir())


def value(files, committed):
    state = opened(OrderState(files, committed), RING)
    return float(state["n"]) if "n" in state else None


# What the site hears, in order: (committed, order or None), and what is current then. It has staged (1, 1) before.
FIRST = made((1, 1), 1)
HEARD = [
    ("committed", [(FIRST, (2, 1))], 1.0),
    ("by an aggregator that does not say its digest", [(Committed((1, 1), None), (2, 1))], 1.0),
    ("an evaluation, then the next round", [(FIRST, None), (FIRST, (2, 1))], 1.0),
    ("not selected for ten rounds", [(FIRST, None)] * 3 + [(FIRST, (12, 1))], 1.0),
    ("the attempt has failed", [(None, (1, 2))], None),
    ("the attempt has failed and the round went on without it", [(None, (2, 1))], None),
    ("the same order again", [(None, (1, 1)), (FIRST, (2, 1))], 1.0),
    ("nothing yet, then committed", [(None, None), (None, None), (FIRST, (2, 1))], 1.0),
]


def test_a_kill_while_state_becomes_current_does_not_reset_it(files, monkeypatch):
    files.folder.mkdir()
    (files.folder / "reset").touch()
    trained(files, None, (1, 1), 1)
    with monkeypatch.context() as killed:
        killed.setattr("fedtrainer.training.durable.sync", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            files.promote(FIRST)
    files.promote(FIRST)
    assert value(files, FIRST) == 1


@pytest.mark.parametrize("again", [2, 3, 4])
def test_a_round_that_is_made_again_after_the_store_was_put_back_leaves_its_own_state(files, again):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    files.promote(None)
    (files.folder / "reset").touch()
    assert trained(files, None, (1, 1), again) == 0
    files.promote(made((1, 1), again))
    assert value(files, made((1, 1), again)) == again
    assert names(files) == ["current-000001-1"]


@pytest.mark.parametrize("kept", [1, 2])
def test_the_state_before_the_last_is_there_for_a_store_that_was_put_back(files, kept):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    trained(files, FIRST, (2, 1), 2)
    second = made((2, 1), 2)
    files.promote(second)
    trained(files, second, (3, 1), 3)
    assert names(files) == ["current-000001-1", "current-000002-1", "staged-000003-1"]
    back = (FIRST, second)[kept - 1]
    if kept == 2:
        files.promote(made((3, 1), 3))
        assert names(files) == ["current-000002-1", "current-000003-1"], "those of the last two commits"
    files.promote(back)
    assert names(files)[0] == f"current-{kept:06d}-1"
    assert f"current-{kept + 1:06d}-1" not in names(files), "what no longer counts goes"
    files.discard((kept + 1, 1))
    assert trained(files, back, (kept + 1, 1), 9) == kept
    files.promote(made((kept + 1, 1), 9))
    assert value(files, made((kept + 1, 1), 9)) == 9
    assert names(files) == [f"current-{kept:06d}-1", f"current-{kept + 1:06d}-1"]


def test_no_state_of_before_is_taken_for_an_update_whose_digest_nobody_said(files):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    trained(files, FIRST, (2, 1), 2)
    files.promote(made((2, 1), 2))
    with pytest.raises(SiteStateError, match="there is that of round 2"):
        value(files, Committed((1, 1), None))
    assert value(files, Committed((2, 1), None)) == 2
    with pytest.raises(SiteStateError, match="of round 1 attempt 1"):
        value(files, made((1, 1), 7))


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


def test_what_another_update_of_its_name_has_left_is_not_taken(files):
    """The round was made again by a store that was put back, and this site's part in it by another process of its own."""
    trained(files, None, (1, 1), 1)
    files.promote(made((1, 1), 2))
    assert names(files) == ["staged-000001-1"]
    files.discard((2, 1))
    assert names(files) == []
    with pytest.raises(SiteStateError, match="of round 1 attempt 1"):
        value(files, made((1, 1), 2))


def test_a_training_starts_from_what_was_committed_and_not_from_what_was_tried(files):
    assert trained(files, None, (1, 1), 1) == 0
    files.promote(FIRST)
    assert trained(files, FIRST, (2, 1), 2) == 1
    files.discard((2, 2))
    assert trained(files, FIRST, (2, 2), 3) == 1
    assert trained(files, FIRST, (2, 2), 4) == 1, "the same again"
    files.promote(made((2, 2), 4))
    assert value(files, made((2, 2), 4)) == 4
    assert names(files) == ["current-000001-1", "current-000002-2"]


def test_a_state_that_the_task_leaves_alone_goes_on(files):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    order = OrderState(files, FIRST, (2, 1))
    stage(order, opened(order, RING), digest(2))
    files.promote(made((2, 1), 2))
    assert value(files, made((2, 1), 2)) == 1


def test_a_task_without_state_leaves_no_files(files):
    order = OrderState(files, None, (1, 1))
    stage(order, opened(order, RING), digest(1))
    files.promote(FIRST)
    later = OrderState(files, FIRST, (2, 1))
    stage(later, opened(later, RING), digest(2))
    assert not files.folder.exists()


def test_an_evaluation_reads_and_stages_nothing(files):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    order = OrderState(files, FIRST)
    state = opened(order, RING)
    state["n"] = torch.tensor(9.0)
    stage(order, state, digest(9))
    assert value(files, FIRST) == 1


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# What has happened to the current state of (1, 1), which commit the aggregator names, and the words.
LOST = [
    (damage, FIRST, "is damaged"),
    (lambda path: path.write_bytes(b""), FIRST, "is damaged"),
    (Path.unlink, FIRST, "of round 1"),
    (lambda path: None, made((3, 1), 3), "there is that of round 1"),
    (lambda path: None, made((1, 1), 2), "of round 1 attempt 1"),  # another update of that name
    (lambda path: None, None, "of no round"),  # the aggregator has lost its store
]


@pytest.mark.parametrize(("happened", "committed", "words"), LOST)
def test_a_state_that_cannot_be_had_is_an_error_for_who_asks_and_a_person_may_reset_it(
    files, happened, committed, words
):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    happened(files.newest().path)
    state = opened(OrderState(files, committed), RING)
    with pytest.raises(SiteStateError, match=words) as told:
        state.get("n")
    assert str(files.folder / "reset") in str(told.value)
    with pytest.raises(SiteStateError):
        state.copy()["n"] = torch.zeros(1)
    (files.folder / "reset").touch()
    assert trained(files, committed, (4, 1), 7) == 0
    files.promote(made((4, 1), 7))
    assert value(files, made((4, 1), 7)) == 7
    assert names(files) == ["current-000004-1"]


def kept_part(files, committed, update, value):
    """A training whose method keeps what may begin anew."""
    order = OrderState(files, committed, update)
    state = opened(order, RING)
    before = state.part("optimizer", renewable=True)
    state.keep("optimizer", {"n": torch.tensor(float(value))}, renewable=True)
    stage(order, state, digest(value))
    return float(before["n"]) if before else None


@pytest.mark.parametrize(("happened", "committed", "words"), LOST)
def test_what_may_begin_anew_does_so_with_a_warning_and_nothing_else_does(files, caplog, happened, committed, words):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    happened(files.newest().path)
    assert kept_part(files, committed, (4, 1), 7) is None
    assert words in caplog.text
    files.promote(made((4, 1), 7))
    caplog.clear()
    assert kept_part(files, made((4, 1), 7), (5, 1), 8) == 7
    files.promote(made((5, 1), 8))
    assert not caplog.records, "it is there again"
    with pytest.raises(SiteStateError):  # the task's is not: a file of its own does not hide it
        value(files, made((5, 1), 8))


def test_a_site_of_which_no_update_counts_any_more_begins_anew(files):
    trained(files, None, (1, 1), 1)
    files.promote(FIRST)
    trained(files, FIRST, (2, 1), 2)
    files.promote(made((2, 1), 2))
    order = OrderState(files, None, (4, 1), taken_back=True)
    state = opened(order, RING)
    assert "n" not in state
    stage(order, state, digest(4))
    files.promote(made((4, 1), 4))
    assert value(files, made((4, 1), 4)) is None
    assert value(files, made((2, 1), 2)) == 2, "the job may go forward again to what was given up"


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
    stage(order, state, digest(1))
    files.promote(FIRST)
    again = opened(OrderState(files, FIRST), RING)
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
    """A site and what its aggregator has committed.

    Round 2 fails at its first attempt, round 3 is made again by a store that was put back, and round 4 goes without it.
    """

    BACK = (0, 0, False)
    SCRIPT = ((1, 1, True), (2, 1, False), (2, 2, True), (3, 1, True), BACK, (3, 1, True), (4, 1, False), (5, 1, True))

    def __init__(self, folder: Path) -> None:
        self.files = StateFiles(folder / "state")
        self.history, self.position, self.values, self.trainings = [None], 0, [], 0

    @property
    def committed(self):
        return self.history[-1]

    def go_on(self) -> None:
        """From the order that was not answered when the process was killed."""
        while self.position < len(self.SCRIPT):
            step = self.SCRIPT[self.position]
            if step == self.BACK:
                self.files.promote(self.committed)
                self.history.pop()
                self.values.pop()
                self.position += 1
                continue
            round_, attempt, counts = step
            self.files.promote(self.committed)
            self.files.discard((round_, attempt))
            self.trainings += 1
            before = trained(self.files, self.committed, (round_, attempt), self.trainings)
            if counts:  # handed in: from here on the aggregator has it
                self.values.append(before)
                self.history.append(made((round_, attempt), self.trainings))
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
        ours = [
            0,
            *(int(each.sha256, 16) for each in life.history[1:]),
        ]  # the states of what counts, one after the other
        assert life.values == ours[:-1], f"killed at step {step}"
        assert value(life.files, life.committed) == ours[-1]
        assert [name for name in names(life.files) if name.startswith(("staged", "current"))] == [
            "current-000003-1",
            "current-000005-1",
        ], f"killed at step {step}"
    assert step > 40, "so many operations were looked at"
